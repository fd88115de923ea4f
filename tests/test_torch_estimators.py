"""Depth and pose by the real classes of transformers, with the demo's tiny random weights."""

import itertools
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pytest

from studio.diffusers_setup import prepare_libraries

prepare_libraries()

import torch  # noqa: E402
from PIL import Image  # noqa: E402
from transformers import RTDetrForObjectDetection, RTDetrImageProcessorPil  # noqa: E402

from studio.control_pose import openpose_joints  # noqa: E402
from studio.errors import BadInput, Cancelled, MissingWeights  # noqa: E402
from studio.families import LTX  # noqa: E402
from studio.registry import DEPTH_ESTIMATOR, PERSON_DETECTOR, POSE_ESTIMATOR  # noqa: E402
from studio.torch_depth import depth_maps  # noqa: E402
from studio.torch_estimators import BATCH, load_estimator, load_reader  # noqa: E402
from studio.torch_pose import cut_out, find_people, peaks, pose_maps, with_room  # noqa: E402
from studio.weights_demo import ensure_demo  # noqa: E402

FRAMES, HEIGHT, WIDTH = 6, 96, 128
SIZE = (64, 48)


@pytest.fixture(scope="module")
def models(demo_home):
    return ensure_demo(demo_home, LTX.id) / "control"


@pytest.fixture(scope="module")
def frames():
    """A bright square that moves over a picture with a slope."""
    clip = np.zeros((FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    clip[:] = np.linspace(20, 120, WIDTH, dtype=np.uint8)[:, None]
    for number, frame in enumerate(clip):
        frame[20:70, 10 + 12 * number : 50 + 12 * number] = (230, 200, 40)
    return clip


def nothing(done):
    pass


def drawing(kind, models):
    """The function that draws a kind of map, its folders already given."""
    if kind == DEPTH_ESTIMATOR:
        return lambda *rest: depth_maps(models / DEPTH_ESTIMATOR, *rest)
    return lambda *rest: pose_maps(models / PERSON_DETECTOR, models / POSE_ESTIMATOR, *rest)


@pytest.mark.parametrize("kind", [DEPTH_ESTIMATOR, POSE_ESTIMATOR])
def test_maps_follow_the_clip_at_the_size_that_is_asked(models, frames, kind):
    draw, counts = drawing(kind, models), []
    maps = draw(frames, SIZE, counts.append)
    assert maps.shape == (FRAMES, SIZE[1], SIZE[0], 3) and maps.dtype == np.uint8
    assert counts == [BATCH, FRAMES]
    assert all((one != other).any() for one, other in itertools.pairwise(maps))
    assert (maps == draw(frames, SIZE, nothing)).all()
    larger = draw(frames, (WIDTH, HEIGHT), nothing)
    shrunk = np.stack([np.asarray(Image.fromarray(one).resize(SIZE)) for one in larger])
    assert np.abs(shrunk.astype(int) - maps).mean() < 10


@pytest.mark.parametrize("kind", [DEPTH_ESTIMATOR, POSE_ESTIMATOR])
def test_a_cancel_stops_between_two_batches(models, frames, kind):
    counts = []

    def cancel(done):
        counts.append(done)
        raise Cancelled("The job was cancelled.")

    with pytest.raises(Cancelled):
        drawing(kind, models)(frames, SIZE, cancel)
    assert counts == [BATCH]


@pytest.mark.parametrize("kind", [DEPTH_ESTIMATOR, POSE_ESTIMATOR])
def test_a_folder_that_is_not_whole_is_named(models, frames, kind, tmp_path):
    shutil.copytree(models, tmp_path / "control")
    folder = tmp_path / "control" / kind
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    for _ in range(2):
        with pytest.raises(MissingWeights, match="not whole") as caught:
            drawing(kind, folder.parent)(frames, SIZE, nothing)
        assert f"'{folder}'" in str(caught.value)
        weights.unlink(missing_ok=True)


def test_depth_is_read_as_transformers_reads_it(models, frames):
    """The estimator's own processor brings the maps back to the size of the frames."""
    model, read = (
        load_estimator("DepthAnythingForDepthEstimation", models / DEPTH_ESTIMATOR),
        load_reader("DPTImageProcessorPil", models / DEPTH_ESTIMATOR),
    )
    with torch.no_grad():
        depth = model(read(frames)).predicted_depth
    assert depth.shape == (FRAMES, 84, 112)
    scaled = torch.nn.functional.interpolate(depth[:, None], (HEIGHT, WIDTH), mode="bicubic")[:, 0]
    expected = ((scaled - scaled.min()) / (scaled.max() - scaled.min()) * 255).numpy()
    maps = depth_maps(models / DEPTH_ESTIMATOR, frames, (WIDTH, HEIGHT), nothing)
    assert np.abs(maps[..., 0] - expected).mean() < 1


def test_a_clip_without_people_is_refused_with_the_way_out(models, frames, tmp_path):
    detector = shutil.copytree(models / PERSON_DETECTOR, tmp_path / "detector")
    model = RTDetrForObjectDetection.from_pretrained(detector)
    # Of person and bicycle, the demo's two classes.
    model.model.decoder.class_embed[-1].bias.data.copy_(torch.tensor([-8.0, 8.0]))
    model.save_pretrained(detector)
    assert find_people(detector, models / POSE_ESTIMATOR, frames, nothing) == [[]] * FRAMES
    with pytest.raises(BadInput, match=r"No person was found .* Edges or Depth") as caught:
        pose_maps(detector, models / POSE_ESTIMATOR, frames, SIZE, nothing)
    assert caught.value.field == "control"


def test_boxes_and_joints_are_those_of_transformers(models, frames):
    """Its processor of ViTPose needs scipy, so the studio cuts out and reads by itself."""
    pytest.importorskip("scipy")
    from transformers.models.vitpose import image_processing_pil_vitpose as vitpose

    picture, (rows, columns), cells = Image.fromarray(frames[0]), (64, 48), (16, 12)
    reader = RTDetrImageProcessorPil.from_pretrained(models / PERSON_DETECTOR)
    cutter = vitpose.VitPoseImageProcessorPil(size={"height": rows, "width": columns})
    finder = load_estimator("RTDetrForObjectDetection", models / PERSON_DETECTOR)
    looker = load_estimator("VitPoseForPoseEstimation", models / POSE_ESTIMATOR)
    with torch.no_grad():
        seen = finder(**reader(picture, return_tensors="pt"))
        (found,) = reader.post_process_object_detection(seen, 0.3, [(HEIGHT, WIDTH)])
        boxes = found["boxes"].numpy()
        boxes[:, 2:] -= boxes[:, :2]
        cut = cutter(picture, boxes=[boxes], return_tensors="pt")["pixel_values"]
        heatmaps = looker(cut).heatmaps.numpy()
    assert len(boxes) == 1
    ours = cut_out(picture, with_room(boxes[0], columns / rows), columns, rows)
    one_level = 1 / 255 / 0.224
    assert (ours - cut[0]).abs().max() <= 1.01 * one_level
    place, score = vitpose.get_keypoint_predictions(heatmaps)
    middle, scale = vitpose.box_to_center_and_scale(boxes[0], columns, rows)
    theirs = vitpose.transform_preds(place[0], middle, scale, cells)
    theirs = openpose_joints(np.column_stack([theirs, score[0]]).astype(np.float32))
    ((ours,),) = find_people(models / PERSON_DETECTOR, models / POSE_ESTIMATOR, frames[:1], nothing)
    cell = scale * 200 / (cells[1] - 1, cells[0] - 1)
    away = np.abs(ours[:, :2] * (WIDTH, HEIGHT) - 0.5 - theirs[:, :2]) / cell
    # Theirs are whole cells still. Random maps have peaks of the same height: one may differ.
    assert np.sort(away.max(axis=1))[:-2].max() == pytest.approx(0.25, abs=0.01)
    assert ours[:, 2] == pytest.approx(theirs[:, 2], abs=0.05)


def test_peaks_lie_a_quarter_of_a_cell_towards_the_higher_neighbour():
    maps = np.zeros((3, 9, 5), np.float32)
    maps[0, 4, 2] = 0.8
    maps[1, 4, 2], maps[1, 4, 3], maps[1, 3, 2] = 0.9, 0.5, 0.5
    maps[2, 8, 0] = 0.7
    assert peaks(maps) == pytest.approx(
        np.array([[2 / 4, 4 / 8, 0.8], [2.25 / 4, 3.75 / 8, 0.9], [0, 1, 0.7]], np.float32),
        abs=1e-6,
    )


def test_estimators_run_beside_what_comfyui_imports(models):
    """In its process torchvision is there, maybe without its binary."""
    if not {"torchvision", "torchaudio"} <= set(packages_distributions()):
        pytest.skip("needs torchvision and torchaudio, which only ComfyUI requires")
    program = (
        "import sys, numpy as np; from pathlib import Path;"
        "from studio.torch_companions import import_python_parts; import_python_parts();"
        "from studio.torch_depth import depth_maps; from studio.torch_pose import pose_maps;"
        "models, clip = Path(sys.argv[1]), np.zeros((1, 64, 64, 3), np.uint8);"
        "depth_maps(models / 'depth', clip, (32, 32), print);"
        "pose_maps(models / 'person', models / 'pose', clip, (32, 32), print)"
    )
    command = [sys.executable, "-c", program, str(models)]
    root = Path(__file__).parent.parent
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert (done.returncode, done.stdout) == (0, "1\n1\n"), done.stderr
