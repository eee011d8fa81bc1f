"""What a training run is: its configuration, where it lies, and the policy that it leaves."""
