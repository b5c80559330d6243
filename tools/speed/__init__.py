"""What tools/big_models.py makes and tools/bench_speed.py measures.

output.py, joined.py, made.py, updates.py   large files: real models joined, generated ones, updates
"""
