"""The `saga` command: start, watch and try out the choreographed saga on one machine."""
