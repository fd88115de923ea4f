"""Gives a finished MP4 new tags without encoding it again."""

from collections.abc import Mapping
from pathlib import Path

import av

MOVFLAGS = "use_metadata_tags+faststart"
"""Tags of any name; and the index in front, so that a browser can play before it has all."""


def retag_clip(source: Path, target: Path, tags: Mapping[str, str]) -> None:
    """Copy the streams of `source` as they are into `target`, with `tags` as the only tags.

    Raises OSError where the disk refuses.
    """
    with (
        av.open(str(source)) as reader,
        av.open(str(target), "w", format="mp4", options={"movflags": MOVFLAGS}) as writer,
    ):
        writer.metadata.update(tags)
        copies = {
            stream.index: writer.add_stream_from_template(stream) for stream in reader.streams
        }
        for packet in reader.demux():
            # The demuxer ends every stream with an empty packet, which is no data to copy.
            if packet.dts is None:
                continue
            packet.stream = copies[packet.stream.index]
            writer.mux(packet)
