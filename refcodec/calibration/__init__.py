"""Networks run by the encoder: what layers take in, and how far outputs move when weights do (informative).

inputs.py       arrays for the inputs of a network, from files or noise
flatten.py      an ONNX graph without branches and loops, whose weights are inputs
layers.py       its layers: which tensors are whose weights, and the matrix that each makes up
network.py      runs it piece by piece, with other weights from any layer on
layer_inputs.py what the rows of a layer's matrix are multiplied with
measure.py      how far outputs are from what they were: nats, or relative squared error
sensitivity.py  the same for a unit of squared error in each tensor, by finite noise
moments.py      second moments of layer inputs, and what follows from them: column weights, corrected weights
feedback.py     levels column by column, each column making up for the error of those before
sequence.py     all tensors of a network so, in the order of its graph
layer_moments.py the moments of each layer's inputs, as the network was and as it is quantised so far
layer_bias.py   what takes up the mean of a layer's errors
steps.py        steps at a common price of bits, and a configuration with them
cache.py        what was measured, kept beside the model
callable.py     networks that are no ONNX graph
decisions.py    what a network decides
feeding.py      networks that are given back what they put out
splits.py       which inputs are held out, to judge on
scores.py       how a quantised network answers them, and with what certainty
targets.py      what is asked for: answers that are kept, or a size
candidates.py   ways to code a network, each at any price
search.py       the way and the price that meet a target with least
subjects.py     the networks of a calibration
calibrate.py    all of it, from inputs to a stream
"""

from __future__ import annotations

from ..integers.evaluate import network_of
from .calibrate import Calibrated, calibrate, calibrate_network
from .callable import CallableNetwork
from .decisions import Decision
from .inputs import read_runs, read_sequences
from .measure import Measure, measure_of
from .network import Network
from .scores import Judge
from .sensitivity import Sensitivities, Sensitivity, sensitivities
from .sequence import Method, Quantised, quantise_network
from .steps import Plan, configuration, plan_steps
from .targets import Target

__all__ = ["Calibrated", "CallableNetwork", "Decision", "Judge", "Measure", "Method", "Network", "Plan", "Quantised",
           "Sensitivities", "Sensitivity", "Target", "calibrate", "calibrate_network", "configuration", "measure_of",
           "network_of", "plan_steps", "quantise_network", "read_runs",
           "read_sequences", "sensitivities"]
