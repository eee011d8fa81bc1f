"""The commands, one module each: what scripts/<name>.py and the console command para-<name> run.

They parse a configuration and call the library; whatever they need is imported when they run, so
that --help and mistakes in typing do without torch.
"""
