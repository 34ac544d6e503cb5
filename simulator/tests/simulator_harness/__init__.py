"""The harness of the simulator's tests: clients, servers in threads, İYS's description, fuzzing."""
