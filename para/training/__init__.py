"""One training loop for all policies.

    loop         the loop itself, top to bottom
    claims       whose folder it is: locks, other configurations, fresh=true
    state        what a run is and how far it is
    resume       how a run begins, is saved and goes on; keys of a checkpoint
    learner      policy, losses, average and optimiser as one
    data         demos, and the batches of each process
    step         one optimiser step
    validation   watching held-out demos
    summary      what came of it, and the policy that is left; keys of policy.json
    monitor      what is shown meanwhile, with log and pictures
    stages       recipes: several runs in a row

Below them: optimiser, checkpoint (files), devices, sharding and signals.
"""
