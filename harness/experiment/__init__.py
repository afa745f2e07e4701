"""What an experiment is: its file, its workloads, the order of its trials."""
