"""The places of the gallery on the page; the script fills them."""

import json
from dataclasses import asdict
from html import escape

from studio.modes import MODES
from studio.page_gallery_routes import MOST_RECIPE_BYTES
from studio.send_to import targets_of

_MODES = "".join(f'<option value="{mode.id}">{mode.label}</option>' for mode in MODES.values())
_TARGETS = escape(
    json.dumps({kind: [asdict(one) for one in targets_of(kind)] for kind in ("image", "video")})
)

RESTORED = '<div id="restored"></div>'
"""Above the forms: what was restored, and what could not be."""

GALLERY = f"""<section id="gallery" aria-labelledby="gallery-title" data-targets="{_TARGETS}"
 data-most-bytes="{MOST_RECIPE_BYTES}">
<div class="gallery-head">
<h2 id="gallery-title">Gallery</h2>
<button id="restore-choose" type="button" class="plain">Restore from a file …</button>
<input id="restore-file" type="file" accept=".png,.mp4,image/png,video/mp4" hidden
 aria-label="PNG or MP4 whose settings are restored">
</div>
<form id="gallery-filter" role="search" aria-label="Gallery">
<input id="gallery-text" type="search" placeholder="Words of the prompt" maxlength="200"
 aria-label="Words of the prompt">
<select id="gallery-mode" aria-label="Mode"><option value="">All modes</option>{_MODES}</select>
</form>
<p id="gallery-said" role="status" class="unseen"></p>
<ul id="gallery-grid"></ul>
<p id="gallery-empty" class="quiet" hidden></p>
<button id="gallery-more" type="button" class="plain" hidden>Show more</button>
</section>
<dialog id="made-dialog" aria-labelledby="made-title"></dialog>
<div id="undo-lines" role="status"></div>
<div id="drop-hint" hidden><p>Drop a PNG or MP4 to restore its settings</p></div>"""
