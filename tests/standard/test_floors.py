"""The floors of refcodec (tools/floors.py): no circle of imports, none that climbs, none from outside the package."""

from __future__ import annotations

from xml.etree import ElementTree

import floors
import pytest

IMPORTS, OUTSIDE = floors.graph()


def test_no_module_is_in_a_circle():
    assert floors.circles(IMPORTS) == []


def test_no_folder_is_in_a_circle():
    assert floors.circles(floors.rooms(IMPORTS)) == []


def test_no_import_climbs():
    assert floors.climbs(IMPORTS) == []


def test_the_package_stands_alone():
    assert OUTSIDE == []


def test_each_room_has_one_floor():
    named = [name for names in floors.FLOORS for name in names]
    assert sorted(named) == sorted(floors.rooms(IMPORTS))


def test_the_decoder_does_without_the_encoder():
    """Whatever the decoder imports, directly or not: nothing of it is the encoder's."""
    seen, new = set(), {"refcodec.decoder"}
    while new:
        seen |= new
        new = {other for module in new for other in IMPORTS[module]} - seen
    assert {floors.room(module) for module in seen} >= {"bitstream", "entropy", "quantization", "reconstruction"}
    assert not {floors.room(module) for module in seen} & {"encoder", "formats", "cli"}


# The rules themselves, over packages made for it

@pytest.fixture
def package(tmp_path):
    """Writes a package named refcodec of module name -> text, and finds what breaks the rules."""
    def package(**texts: str) -> list[str]:
        folder = tmp_path / "refcodec"
        for name in ("__init__", *(name for names in floors.FLOORS for name in names if name)):
            path = folder / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(texts.get(name, ""))
        return floors.faults(tmp_path)
    return package


def test_nothing_is_wrong_with_empty_modules(package):
    assert package() == []


@pytest.mark.parametrize("statement", [
    "from .encoder import encode", "from . import encoder", "import refcodec.encoder", "from refcodec import encoder",
    "def late():\n    from .encoder import encode", "if True:\n    from . import encoder",
    "try:\n    import refcodec.encoder\nexcept ImportError:\n    pass",
    "if TYPE_CHECKING:\n    pass\nelse:\n    from . import encoder",
])
def test_an_import_that_climbs_is_found(package, statement):
    assert package(decoder=statement) == ["climbs: refcodec.decoder imports refcodec.encoder"]


def test_what_only_types_need_is_no_import(package):
    assert package(decoder="if TYPE_CHECKING:\n    from .encoder import encode") == []


def test_an_import_that_descends_is_none_that_climbs(package):
    assert package(encoder="from .decoder import decode") == []


def test_a_circle_on_one_floor_is_found(package):
    found = package(entropy="from . import prediction", prediction="from .entropy import code")
    assert found == ["circle: refcodec.entropy refcodec.prediction", "circle of folders: entropy prediction"]


def test_names_that_a_package_gives_away_are_imports(package):
    found = package(__init__='_HOMES = {"main": "cli"}')
    assert found == ["climbs: refcodec imports refcodec.cli"]


@pytest.mark.parametrize("name", ["conformance", "tools", "tests"])
def test_an_import_from_outside_is_found(package, name):
    assert package(decoder=f"from {name}.x import y") == [f"outside: refcodec.decoder imports {name}.x"]


def test_a_room_without_a_floor_is_found(package):
    package()
    assert package(cellar="") == []                 # only rooms of FLOORS are written
    assert floors.floors({"refcodec.cellar": {"refcodec.model"}, "refcodec.model": set()})["cellar"] == 4


# The picture

def test_the_picture_shows_each_room():
    texts = {e.text.split(" ")[0] for e in ElementTree.fromstring(floors.picture(IMPORTS)).iter() if e.text}
    assert texts >= {room or "refcodec" for room in floors.rooms(IMPORTS)}


def test_the_picture_shows_what_climbs():
    imports = {"refcodec.model": {"refcodec.cli"}, "refcodec.cli": {"refcodec.errors"}, "refcodec.errors": set()}
    kinds = [e.get("class") for e in ElementTree.fromstring(floors.picture(imports)).iter() if e.get("marker-end")]
    assert sorted(kinds) == ["climbs", "down"]
