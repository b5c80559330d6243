"""What tools/big_models.py makes and tools/bench_speed.py measures.

output.py, joined.py, made.py, updates.py   large files: real models joined, generated ones, updates
contest.py                                  codecs timed by turns, each in a process of its own environment
levels.py, path.py                          quantised levels; from file to file
targets.py                                  the figures to reach
"""
