"""Tiny random models that draw control maps: a depth estimator, a detector, a pose estimator."""

from pathlib import Path

import torch
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTImageProcessorPil,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrImageProcessorPil,
    RTDetrResNetConfig,
    VitPoseBackboneConfig,
    VitPoseConfig,
    VitPoseForPoseEstimation,
)

from studio.demo_init import fill_random
from studio.registry import DEPTH_ESTIMATOR, PERSON_DETECTOR, POSE_ESTIMATOR

WIDTH = 32
COCO_JOINTS = 17
DEPTH_SIDE, DETECTOR_SIDE = 112, 128
POSE_ROWS, POSE_COLUMNS = 64, 48

# Random depth lies around zero, where the model's last ReLU would cut most of it off.
DEPTH_BIAS = 4.0
# A random detector must find somebody: it is sure of its one box, which is no dot. Both are added
# before a sigmoid; the box starts from an anchor of 5 to 20 % of the picture.
CERTAINTY, BOX_GROWTH = 8.0, 3.0


def write_control_models(folder: Path) -> None:
    """A folder of transformers for each role in `studio.families`."""
    _write_depth_estimator(folder / DEPTH_ESTIMATOR)
    _write_person_detector(folder / PERSON_DETECTOR)
    _write_pose_estimator(folder / POSE_ESTIMATOR)


@torch.no_grad()
def _write_depth_estimator(folder: Path) -> None:
    backbone = Dinov2Config(
        hidden_size=WIDTH,
        num_hidden_layers=4,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=DEPTH_SIDE,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
    )
    model = DepthAnythingForDepthEstimation(
        DepthAnythingConfig(
            backbone_config=backbone,
            reassemble_hidden_size=WIDTH,
            neck_hidden_sizes=[8, 8, 16, 16],
            fusion_hidden_size=16,
            head_hidden_size=8,
        )
    )
    fill_random(model)
    model.head.conv3.bias.fill_(DEPTH_BIAS)
    model.save_pretrained(folder)
    DPTImageProcessorPil(
        size={"height": DEPTH_SIDE, "width": DEPTH_SIDE},
        keep_aspect_ratio=True,
        ensure_multiple_of=backbone.patch_size,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    ).save_pretrained(folder)


@torch.no_grad()
def _write_person_detector(folder: Path) -> None:
    backbone = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[16, 32, 64, 64],
        depths=[1, 1, 1, 1],
        out_features=["stage2", "stage3", "stage4"],
    )
    model = RTDetrForObjectDetection(
        RTDetrConfig(
            backbone_config=backbone,
            encoder_in_channels=backbone.hidden_sizes[1:],
            encoder_hidden_dim=WIDTH,
            encoder_ffn_dim=WIDTH,
            encoder_attention_heads=2,
            hidden_expansion=0.5,
            d_model=WIDTH,
            decoder_in_channels=[WIDTH] * 3,
            decoder_ffn_dim=WIDTH,
            decoder_layers=1,
            decoder_attention_heads=2,
            num_queries=1,
            num_denoising=0,
            id2label={0: "person", 1: "bicycle"},
            label2id={"person": 0, "bicycle": 1},
        )
    )
    fill_random(model)
    # transformers draws these at random, alone among the gains of norms.
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.fill_(1.0)
    model.model.decoder.class_embed[-1].bias[0] = CERTAINTY
    model.model.decoder.bbox_embed[-1].layers[-1].bias[2:] = BOX_GROWTH
    model.save_pretrained(folder)
    RTDetrImageProcessorPil(size={"height": DETECTOR_SIDE, "width": DETECTOR_SIDE}).save_pretrained(
        folder
    )


@torch.no_grad()
def _write_pose_estimator(folder: Path) -> None:
    backbone = VitPoseBackboneConfig(
        image_size=[POSE_ROWS, POSE_COLUMNS],
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=2,
        out_indices=[2],
    )
    model = VitPoseForPoseEstimation(
        VitPoseConfig(backbone_config=backbone, num_labels=COCO_JOINTS)
    )
    fill_random(model)
    model.save_pretrained(folder)
