"""The simulation and the model checker. The variable `SCHEDULES` sets how many schedules are played."""
