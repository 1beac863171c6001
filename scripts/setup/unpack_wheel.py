"""Unpacks from a torch wheel what a C++ program needs: libraries, headers, version. python3 unpack_wheel.py WHEEL FOLDER"""
import json
import os
import stat
import sys
import zipfile

wheel, folder = sys.argv[1:3]
parts = ("torch/lib/", "torch/include/", "torch.libs/", "torch/version.py")
with zipfile.ZipFile(wheel) as archive:
    for entry in archive.infolist():
        if not entry.filename.startswith(parts) or entry.is_dir():
            continue
        path = archive.extract(entry, folder)
        mode = (entry.external_attr >> 16) & 0o777
        if mode:
            os.chmod(path, mode | stat.S_IWUSR)
    metadata = next((n for n in archive.namelist() if n.endswith(".dist-info/METADATA")), None)
    text = archive.read(metadata).decode() if metadata else ""
lines = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("Requires-Dist:")]
with open(os.path.join(folder, "requirements.json"), "w") as file:
    json.dump([line for line in lines if "extra ==" not in line], file)
