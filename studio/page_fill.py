"""Fills a form: with an example, the settings of a job or of a dropped file, or a result sent on.

The page's script has a hidden button for every form, and says with the press what is wanted.
"""

import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder

from studio import disk
from studio.errors import BadInput, NotAllowed, StudioError
from studio.examples import FOLDER, examples
from studio.fields import Field, LoraChoice, LoraControl, MediaControl, NumberControl
from studio.gallery import Gallery
from studio.home import Home
from studio.inputs import InputFile, input_path
from studio.jobs import CancelOutcome, Item, Job
from studio.media_clips import last_frame
from studio.modes import MODES, Mode
from studio.page_forms import PAGE_EVENT, Form, element_id
from studio.page_gallery_routes import GONE, restored_view
from studio.page_job import CANCELLED
from studio.page_owner import NO_OWNER, owner_of
from studio.page_values import paths_in
from studio.restore import Restored, restore, wish_from_json, wish_of_job
from studio.send_to import Target, targets_of
from studio.studio import Studio

_UNUSABLE = re.compile(r'[<>:"/\\|?*]')
"""What the name of a file may not have on some systems."""

KEEP = gr.skip()
"""The control stays as it is."""

Asked = Mapping[str, object]
"""What the script wants: `wish` of a dropped file, or `job` and `item`, and with `control` and
`part` only that result in one control; or `example`, its number, and whether it is a `demo` one."""


def connect_fill(studio: Studio, forms: Sequence[Form]) -> None:
    """The hidden buttons, laid out where it is called."""
    gallery = Gallery(studio.home, studio.table)
    asked, said = gr.JSON(visible=False), gr.JSON(visible=False)
    for form in forms:
        button = gr.Button(
            f"Fill {form.mode.label}", elem_id=element_id(form.mode, "fill"), visible="hidden"
        )
        button.click(
            _filler(studio, gallery, form.mode),
            asked,
            [*form.inputs, said],
            js="() => studio.restore.asked()",
            # Gradio would make another file of a video that browsers cannot show.
            postprocess=False,
            **PAGE_EVENT,
        ).then(None, said, None, js="(said) => studio.restore.filled(said)", **PAGE_EVENT)


def _filler(studio: Studio, gallery: Gallery, mode: Mode) -> Callable[..., list[object]]:
    untouched = [KEEP] * (sum(map(_columns, mode.fields)) + 1)

    def fill(request: gr.Request, asked: object) -> list[object]:
        try:
            owner = owner_of(request)
            if owner is None or not isinstance(asked, Mapping):
                raise NotAllowed(NO_OWNER)
            values = _asked_for(studio, gallery, owner, mode, asked)
            for path in paths_in([one for one in values if isinstance(one, list | dict)]):
                studio.uploads.note(owner, path)
            return values
        except StudioError as error:
            return [*untouched, {"error": str(error), "mode": mode.id}]

    return fill


def _asked_for(
    studio: Studio, gallery: Gallery, owner: str, mode: Mode, asked: Asked
) -> list[object]:
    if "example" in asked:
        return _example(mode, asked)
    if "control" in asked:
        return _sent(studio, gallery, owner, mode, asked)
    return _restored(studio, gallery, owner, mode, asked)


def _columns(field: Field) -> int:
    """How many components a control has."""
    return 2 * field.most if isinstance(field, LoraControl) else 1


# Settings


def _restored(
    studio: Studio, gallery: Gallery, owner: str, mode: Mode, asked: Asked
) -> list[object]:
    if isinstance(asked.get("wish"), Mapping):
        wish = wish_from_json(asked["wish"])  # type: ignore[arg-type]
    else:
        wish = wish_of_job(*_item(studio, owner, asked))
    if wish.mode != mode.id:
        raise BadInput(f"These settings are of another mode than {mode.label}.")
    restored = restore(studio.home, partial(gallery.owns_input, owner), wish)
    values = [value for field in mode.fields for value in _values(studio.home, field, restored)]
    return [*values, restored.weights or KEEP, restored_view(restored)]


def _values(home: Home, field: Field, restored: Restored) -> list[object]:
    """What the components of a control are set to."""
    if isinstance(field, MediaControl):
        files = restored.files.get(field.name)
        return [KEEP if files is None else _media_value(field, [_handed(home, f) for f in files])]
    if field.name not in restored.values:
        return [KEEP] * _columns(field)
    value = restored.values[field.name]
    if isinstance(field, LoraControl):
        return _lora_rows(field, value)  # type: ignore[arg-type]
    if isinstance(field, NumberControl) and field.default is None:
        return ["" if value is None else str(value)]
    return [value]


def _lora_rows(field: LoraControl, chosen: Sequence[LoraChoice]) -> list[object]:
    rows = [(one.file, one.strength) for one in chosen]
    rows += [("", 1.0)] * (field.most - len(rows))
    return [part for row in rows for part in row]


def _media_value(field: MediaControl, paths: Sequence[str]) -> object:
    """The value as the page's component holds it."""
    files = [
        {"path": path, "orig_name": Path(path).name, "meta": {"_type": "gradio.FileData"}}
        for path in paths
    ]
    if field.most > 1:
        return [{"image": file, "caption": None} for file in files]
    return files[0] if files else None


# An example


def _example(mode: Mode, asked: Asked) -> list[object]:
    number, among = asked["example"], examples(mode.id, bool(asked.get("demo")))
    if not isinstance(number, int) or not 0 <= number < len(among):
        raise BadInput("There is no such example; load the page again.")
    example = among[number]
    values: list[object] = []
    for field in mode.fields:
        if field.name in example.files and isinstance(field, MediaControl):
            name = example.files[field.name]
            values.append(_media_value(field, [_shared(FOLDER / name, name)]))
        elif field.name == "prompt":
            values.append(example.prompt)
        else:
            values += [KEEP] * _columns(field)
    return [*values, KEEP, None]


# A result that is sent on


def _sent(studio: Studio, gallery: Gallery, owner: str, mode: Mode, asked: Asked) -> list[object]:
    job, item = _item(studio, owner, asked)
    made = MODES[job.mode].makes if job.mode in MODES else ""
    wanted = (mode.id, asked.get("control"), asked.get("part"))
    target = next((t for t in targets_of(made) if (t.mode, t.control, t.part) == wanted), None)
    path = gallery.path_of(owner, job.id, item.index)
    if target is None or path is None:
        raise BadInput(GONE)
    sent = _part(target, path)
    values = [
        _media_value(field, [sent]) if field.name == target.control else KEEP  # type: ignore[arg-type]
        for field in mode.fields
        for _ in range(_columns(field))
    ]
    said = {"mode": mode.id, "title": mode.label, "sent": target.label}
    return [*values, KEEP, {**said, "element": element_id(mode, target.control)}]


def _part(target: Target, path: Path) -> str:
    """What is sent, where the form may take it from."""
    if target.part == "file":
        return _shared(path, path.name)
    place = _upload_place(f"{path.stem}_last.png")
    with disk.disk_errors(place.parent, BadInput):
        last_frame(path).save(place)
    return str(place)


def _item(studio: Studio, owner: str, asked: Asked) -> tuple[Job, Item]:
    job, number = studio.table.get_for(owner, str(asked.get("job"))), asked.get("item")
    if job is None or not isinstance(number, int) or not 0 <= number < len(job.items):
        raise BadInput(CANCELLED[CancelOutcome.UNKNOWN])
    return job, job.items[number]


# Files that a form may show: only those of Gradio's own folder


def _handed(home: Home, stored: InputFile) -> str:
    return _shared(input_path(home, stored), stored.name)


def _shared(path: Path, name: str) -> str:
    """The file under a name that nobody can guess, as an upload has it; the original stays."""
    place = _upload_place(name)
    with disk.disk_errors(place.parent, BadInput):
        try:
            os.link(path, place)
        except OSError:
            shutil.copyfile(path, place)
    return str(place)


def _upload_place(name: str) -> Path:
    folder = Path(get_upload_folder()) / secrets.token_hex(32)
    with disk.disk_errors(folder, BadInput):
        folder.mkdir(parents=True)
    return folder / _UNUSABLE.sub("_", name)
