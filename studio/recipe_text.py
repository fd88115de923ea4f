"""The texts that a result carries, the same for every kind of file.

Four readers are served: this studio (versioned JSON), tools that know A1111's `parameters`,
ComfyUI (its `prompt`), and whoever asks whether a picture was made by AI (IPTC, in XMP).
"""

import json
from collections.abc import Mapping
from xml.sax.saxutils import quoteattr

from studio.recipe import Json, Recipe, dump_json, is_number, to_json

STUDIO_KEY = "aio_studio"
A1111_KEY = "parameters"
COMFY_KEY = "prompt"
COMMENT_KEY = "comment"
XMP_KEY = "XML:com.adobe.xmp"
"""The PNG keyword of an XMP packet (XMP specification, part 3); our name for it in an MP4 too."""

READ_KEYS = frozenset({STUDIO_KEY, A1111_KEY, COMFY_KEY, COMMENT_KEY, XMP_KEY})
"""The only texts that are read from a file; `comment` is where VideoHelperSuite writes."""

_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"

_PACKET = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    Iptc4xmpExt:DigitalSourceType={source_type}
    xmp:CreatorTool={tool}
    xmp:CreateDate={created}/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""


def texts(recipe: Recipe) -> dict[str, str]:
    """Every text by key but the XMP packet, in Unicode that any container can hold."""
    found = {A1111_KEY: _storable(a1111_text(recipe)), STUDIO_KEY: to_json(recipe)}
    if recipe.graph is not None:
        found[COMFY_KEY] = dump_json(recipe.graph)
    return found


def a1111_text(recipe: Recipe) -> str:
    """The recipe in the form of AUTOMATIC1111's `create_infotext`, as far as that can say it."""
    lines = [str(recipe.params.get("prompt") or "")]
    if negative := recipe.params.get("negative"):
        lines.append(f"Negative prompt: {negative}")
    settings = _a1111_settings(recipe)
    lines.append(", ".join(f"{label}: {_quoted(value)}" for label, value in settings.items()))
    return "\n".join(lines)


def xmp_packet(recipe: Recipe) -> str:
    """An XMP packet with IPTC's mark for media made, or edited, by a trained model."""
    return _PACKET.format(
        source_type=quoteattr(source_type(recipe)),
        tool=quoteattr(made_with(recipe)),
        created=quoteattr(recipe.created),
    )


def source_type(recipe: Recipe) -> str:
    """The IPTC DigitalSourceType of the result, as a URI."""
    kind = "compositeWithTrainedAlgorithmicMedia" if recipe.edited else "trainedAlgorithmicMedia"
    return _SOURCE_TYPES + kind


def made_with(recipe: Recipe) -> str:
    demo = " (demo weights)" if recipe.demo else ""
    return _storable(f"AIO Studio {recipe.studio}{demo}")


def _a1111_settings(recipe: Recipe) -> dict[str, str]:
    stage: Mapping[str, Json] = recipe.sampling[0] if recipe.sampling else {}
    guidance = stage.get("guidance")
    scale = guidance.get("scale") if isinstance(guidance, Mapping) else guidance
    settings = {
        "Steps": stage.get("steps"),
        "Sampler": stage.get("sampler"),
        "CFG scale": f"{scale:g}" if is_number(scale) else None,
        "Seed": recipe.seed,
        "Size": f"{recipe.width}x{recipe.height}",
        "Model": f"demo {recipe.weights}" if recipe.demo else recipe.weights,
        "Lora hashes": _lora_hashes(recipe),
        "Version": f"AIO Studio {recipe.studio}",
    }
    return {label: str(value) for label, value in settings.items() if value not in (None, "")}


def _lora_hashes(recipe: Recipe) -> str:
    # Ten digits of the whole file's SHA-256: A1111's short hash, by which Civitai finds models.
    return ", ".join(f"{one.name}: {one.sha256[:10]}" for one in recipe.loras if one.sha256)


def _quoted(value: str) -> str:
    """As in A1111: quoted where a reader of `label: value, …` would cut it."""
    needed = any(mark in value for mark in ',:\n"')
    return json.dumps(value, ensure_ascii=False) if needed else value


def _storable(text: str) -> str:
    """Lone surrogates have no UTF-8, and a NUL ends a text early in both containers."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
