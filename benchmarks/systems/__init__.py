"""What is measured: the saga, and its peers, each started and stopped by the benchmark."""
