"""What tests are made of: speech, models, releases, a Slurm, a browser."""
