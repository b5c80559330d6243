"""Fuzzing: damaged streams for both decoders, the validator, the readers of files (`python -m tools.fuzz --help`)."""
