"""Run by test_nuscenes_export.py with an interpreter that has nuscenes-devkit: every call that shows a data set."""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from nuscenes.nuscenes import NuScenes
from nuscenes.utils.data_classes import LidarPointCloud
from nuscenes.utils.geometry_utils import BoxVisibility, view_points


def main(root: str, out: str) -> None:
    """Load, list, render; then print what test_nuscenes_export.py compares, as JSON."""
    nusc = NuScenes("v1.0-jwm", root, verbose=True)
    nusc.list_scenes()
    nusc.list_categories()
    nusc.list_attributes()
    result = {"boxes": {}, "points_in_image": {}, "on_map": [], "velocities": {}, "pictures": []}
    for scene in nusc.scene:
        sample = nusc.get("sample", scene["first_sample_token"])
        sample = nusc.get("sample", sample["next"] or sample["token"])
        nusc.list_sample(sample["token"])
        channels = sorted(sample["data"])
        camera = "CAM_FRONT" if "CAM_FRONT" in channels else next(c for c in channels if c.startswith("CAM"))
        for channel in channels:
            picture = Path(out) / f"{scene['name']}_{channel}.png"
            nusc.render_sample_data(sample["data"][channel], out_path=str(picture), underlay_map=True, verbose=False)
            result["pictures"].append(str(picture))
            plt.close("all")
        lidar = sample["data"]["LIDAR_TOP"]
        points, _, _ = nusc.explorer.map_pointcloud_to_image(lidar, sample["data"][camera])
        result["points_in_image"][scene["name"]] = points.shape[1]
        nusc.render_pointcloud_in_image(sample["token"], camera_channel=camera, out_path=str(Path(out) / "points.png"))
        nusc.render_sample(sample["token"], out_path=str(Path(out) / "sample.png"), verbose=False)
        nusc.explorer.render_ego_centric_map(lidar)
        for token in sample["anns"]:
            nusc.render_annotation(token, box_vis_level=BoxVisibility.NONE, out_path=str(Path(out) / "annotation.png"))
            plt.close("all")
        location = nusc.get("log", scene["log_token"])["location"]
        nusc.render_egoposes_on_map(location, out_path=str(Path(out) / "map.png"))
        mask = nusc.get("map", nusc.get("log", scene["log_token"])["map_token"])["mask"]
        cloud = LidarPointCloud.from_file(nusc.get_sample_data_path(lidar))
        result["points_in_image"][f"{scene['name']}/all"] = cloud.points.shape[1]
        for data in nusc.sample_data:
            if nusc.get("sample", data["sample_token"])["scene_token"] != scene["token"]:
                continue
            ego = nusc.get("ego_pose", data["ego_pose_token"])["translation"]
            result["on_map"].append(bool(mask.is_on_mask([ego[0]], [ego[1]])[0]))
            path, boxes, intrinsic = nusc.get_sample_data(data["token"])
            assert Path(path).is_file()
            if data["channel"] == "CAM_FRONT":
                result["boxes"][f"{scene['name']}/{data['timestamp']}"] = {
                    nusc.get("instance", nusc.get("sample_annotation", box.token)["instance_token"])["source_id"]: {
                        "outline": view_points(box.corners(), intrinsic, True)[:2].T.tolist(),
                        "category": box.name,
                    }
                    for box in boxes
                }
        for token in sample["anns"]:
            record = nusc.get("sample_annotation", token)
            result["velocities"][nusc.get("instance", record["instance_token"])["source_id"]] = [
                *np.nan_to_num(nusc.box_velocity(token)).tolist()
            ]
            assert record["visibility_token"] in [v["token"] for v in nusc.visibility]
    print("RESULT " + json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
