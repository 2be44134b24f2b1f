"""Writes app.pytorch.pickle, a snapshot by hand, as torch.cuda.memory._dump_snapshot pickles one: python3 make-pytorch-snapshot.py"""
import pickle

load = [{"filename": "train.py", "line": 12, "name": "load"}, {"filename": "train.py", "line": 40, "name": "<module>"}]


def entry(action, addr, size, time_us, stream=0, frames=(), **more):
    where = {"device_free": addr} if action == "oom" else {"addr": addr}
    return {
        "action": action, **where, "size": size, "stream": stream, "time_us": time_us, "frames": list(frames),
        "compile_context": "N/A", "user_metadata": "", **more,
    }


def block(address, size, requested, state, frames=()):
    return {"address": address, "size": size, "requested_size": requested, "state": state, "frames": list(frames)}


def segment(device, address, total, blocks, kind):
    active = [one for one in blocks if one["state"] == "active_allocated"]
    return {
        "device": device, "address": address, "total_size": total, "stream": 0, "segment_type": kind,
        "allocated_size": sum(one["size"] for one in active), "active_size": sum(one["size"] for one in active),
        "requested_size": sum(one["requested_size"] for one in active), "segment_pool_id": (0, 0), "is_expandable": False,
        "frames": [], "blocks": blocks,
    }


SMALL, LARGE, OTHER = 0x7F0000000000, 0x7F0010000000, 0x7F0000000000
snapshot = {
    "segments": [
        # Was there before the trace began, with one block of that time.
        segment(0, SMALL, 2097152, [
            block(SMALL, 512, 400, "active_allocated"),
            block(SMALL + 512, 2096640, 0, "inactive"),
        ], "small"),
        segment(0, LARGE, 20971520, [
            block(LARGE, 4194304, 4000000, "active_allocated", load),
            block(LARGE + 4194304, 16777216, 0, "inactive"),
        ], "large"),
    ],
    "device_traces": [
        [
            entry("free_requested", SMALL + 512, 1024, 1000),
            entry("free_completed", SMALL + 512, 1024, 1000),
            entry("segment_alloc", LARGE, 20971520, 1010),
            entry("alloc", LARGE, 4194304, 1010, frames=load, user_metadata="weights"),
            entry("alloc", LARGE + 4194304, 1048576, 1020, stream=94000000000000),
            entry("free_requested", LARGE + 4194304, 1048576, 1030, stream=94000000000000),
            entry("free_completed", LARGE + 4194304, 1048576, 1050, stream=94000000000000),
            entry("oom", 1000, 1 << 40, 1060),
            entry("snapshot", 0, 0, 1070),
        ],
        [
            entry("segment_alloc", OTHER, 2097152, 1015),
            entry("alloc", OTHER, 512, 1015),
            entry("free_requested", OTHER, 512, 1016),
            entry("free_completed", OTHER, 512, 1016),
            entry("segment_free", OTHER, 2097152, 1040),
        ],
    ],
    "allocator_settings": {"PYTORCH_CUDA_ALLOC_CONF": "", "max_split_size": -1},
    "external_annotations": [],
}
with open("app.pytorch.pickle", "wb") as file:
    pickle.dump(snapshot, file)
