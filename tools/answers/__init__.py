"""Published networks, recorded inputs for them and what counts as an answer: one list for all tests of lossy coding.

catalogue.py  the list: origin, licence and digest of every network and of all data; decisions
sources.py    packages of the Python Package Index, pinned, out of which both come
graphs.py     networks of which packages carry the weights alone, as ONNX graphs
sounds.py, pictures.py, words.py    inputs from recordings, photographs, files and sentences
prepare.py    writes MODEL.onnx, MODEL.calibration*.npz and MODEL.test*.npz of each
evaluate.py   runs a decoded network on its test inputs: decisions and distance
methods.py    the ways of coding that are compared
table.py      bytes at equal answers, from what was measured
"""
