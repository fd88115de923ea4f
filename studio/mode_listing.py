"""The modes as JSON, for scripts: every control with its limits."""

from dataclasses import asdict

from studio.fields import Field
from studio.modes import Mode


def mode_as_json(mode: Mode) -> dict[str, object]:
    """What the mode does, takes and offers."""
    return {
        "id": mode.id,
        "tag": mode.tag,
        "label": mode.label,
        "does": mode.does,
        "makes": mode.makes,
        "family": mode.family,
        "engines": list(mode.engines),
        "fields": [_field_as_json(field) for field in mode.fields],
        "presets": [
            {"id": preset.id, "label": preset.label, "summary": preset.summary}
            for preset in mode.presets.values()
        ],
    }


def _field_as_json(field: Field) -> dict[str, object]:
    kind = type(field).__name__.removesuffix("Control").lower()
    # A media control's own `kind` (image, audio, video) stands under `media`.
    known = {name: value for name, value in asdict(field).items() if name != "kind"}
    media = {"media": getattr(field, "kind", None)} if kind == "media" else {}
    return {"kind": kind, "flag": field.flag, **known, **media}
