"""What a run will take before it is begun: memory, operations, time, traffic between devices."""
