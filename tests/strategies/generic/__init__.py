"""What holds for every registered strategy: its terms, the modes it leaves behind, the samples it looks at."""
