"""What tests share: signals, small priors, hostile input, and commands that are run in this process."""
