"""Peer codecs, each in an environment of its own (environments.py), called as worker processes.

workers/     programs that run inside those environments: files in, one line of JSON per measurement out
             (a folder of their own, so that `nncodec` means the package there and not the adapter)
nncodec.py, lossless.py, omc.py, shannon.py   what tools/bench_peers.py measures
environments.py, steps.py                     how it runs them, and what it says meanwhile
"""
