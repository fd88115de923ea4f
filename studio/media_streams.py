"""Containers and their streams, through PyAV: opened safely, measured, decoded."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from studio.errors import BadInput
from studio.media_open import is_heic, is_picture, is_text, require_file

CONTAINER_FORMATS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,flv,asf,gif,"
    "wav,w64,aiff,caf,au,mp3,aac,ac3,eac3,flac,ogg,amr,ape,tta,wv"
)
"""FFmpeg demuxers that are read. Named, because playlists (`concat`, `hls`) open other files."""


@dataclass(frozen=True)
class Extent:
    """What a stream really holds, read packet by packet: headers lie, or say nothing."""

    first: av.VideoFrame | av.AudioFrame | None
    """The first decoded frame; None where nothing could be decoded."""
    packets: int
    seconds: float
    cut_off: bool
    """An MP4 or MOV whose index promises more than the file holds."""


def open_container(path: Path) -> InputContainer:
    """PyAV's input container, to be used in a `with` block. Raises av.FFmpegError.

    Its streams must not be touched after the block: PyAV then reads freed memory.
    """
    # An absolute path, because a name like `concat:a|b` would be taken as an address.
    container: InputContainer = av.open(
        str(path.absolute()),
        metadata_errors="replace",  # Old files have titles in Latin-1.
        options={"format_whitelist": CONTAINER_FORMATS, "protocol_whitelist": "file"},
    )
    return container


@contextmanager
def opened_container(
    path: Path, wanted: str, usable: str, unreadable: BadInput
) -> Iterator[InputContainer]:
    """`open_container` for what a user brought.

    Raises BadInput: missing, empty, not what is `wanted` ("a sound"), and `unreadable` for damage
    that is met inside the block. `usable` names formats that can be taken instead.
    """
    require_file(path)
    try:
        container = open_container(path)
    except av.FFmpegError as error:
        raise BadInput(
            f"This file is not {wanted} that can be read; it looks like {looks_like(path)}."
            f" Use {usable}."
        ) from error
    with container:
        try:
            yield container
        except av.FFmpegError as error:
            raise unreadable from error


def looks_like(path: Path) -> str:
    """What the file is, to say beside what it is not: "a picture", "a video", "a sound", …"""
    if is_picture(path):
        return "a picture"
    if is_heic(path):
        return "an iPhone photo (HEIC), which must be saved as JPEG first"
    nothing = "neither a picture nor a video nor a sound"
    return _container_kind(path) or ("a text file" if is_text(path) else nothing)


def video_stream(container: InputContainer) -> VideoStream | None:
    """The first video stream that is not a cover picture, or None."""
    return next((stream for stream in container.streams.video if not _is_cover(stream)), None)


def start_seconds(stream: Stream) -> Fraction:
    """The time of the stream's first frame on the container's clock."""
    return Fraction(stream.start_time or 0) * Fraction(stream.time_base or 0)


def decoded(container: InputContainer, stream: Stream) -> Iterator[Any]:
    """The stream's frames in the order of presentation. Damaged packets are left out, as players
    do: recordings of live streams begin in the middle of a picture.
    """
    for packet in _packets(container, stream):
        yield from _frames(packet)


def measure(container: InputContainer, stream: Stream, longest: float) -> Extent:
    """Reads the stream's packets, and stops once they play longer than `longest` seconds."""
    first, last, packets = None, None, 0
    begin, end = stream.start_time, 0
    time_base = Fraction(stream.time_base or 0)
    # The other streams too: where a file is cut off, its last packet may be anyone's.
    for packet in _packets(container, *container.streams.video, *container.streams.audio):
        last = packet if packet.size else last
        if packet.stream_index != stream.index:
            continue
        if first is None:
            first = next(_frames(packet), None)
        if packet.pts is None or packet.is_discard:
            continue
        packets += 1
        begin = packet.pts if begin is None else begin
        end = max(end, packet.pts + (packet.duration or 0) - begin)
        if end * time_base > longest:
            break
    return Extent(first, packets, float(end * time_base), _is_cut_off(container, last))


def _container_kind(path: Path) -> str | None:
    try:
        with open_container(path) as container:
            if video_stream(container):
                return "a video"
            return "a sound" if container.streams.audio else None
    except av.FFmpegError:
        return None


def _is_cover(stream: Stream) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def _is_cut_off(container: InputContainer, last_packet: av.Packet | None) -> bool:
    # Other containers mark damage that players get over, and have no index that tells the end.
    return "mp4" in container.format.name and last_packet is not None and last_packet.is_corrupt


def _packets(container: InputContainer, *streams: Stream) -> Iterator[av.Packet]:
    try:
        yield from container.demux(*streams)
    except av.InvalidDataError:
        return


def _frames(packet: av.Packet) -> Iterator[Any]:
    try:
        yield from packet.decode()
    except av.InvalidDataError:
        return
