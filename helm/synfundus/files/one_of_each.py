"""`helm test`: one generation, one diagnosis of it, and a refusal without a key. Standard library alone."""

import json
import os
import urllib.error
import urllib.request

URL, KEY = os.environ["URL"], os.environ.get("KEY", "").strip()


def call(path: str, body: bytes, media_type: str, accept: str, key: str = KEY) -> bytes:
    headers = {"Content-Type": media_type, "Accept": accept}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    with urllib.request.urlopen(urllib.request.Request(URL + path, body, headers), timeout=300) as answer:
        return answer.read()


request = json.dumps({"condition": {"eye_side": 1, "is_fundus": 1}, "seed": 7}).encode()
png = call("/v1/generate", request, "application/json", "image/png")
assert png.startswith(b"\x89PNG"), png[:200]
diagnosis = json.loads(call("/v1/diagnose", png, "image/png", "application/json"))
(seen,) = diagnosis["images"]
available = sum(finding["status"] == "available" for finding in seen["findings"].values())
print(f"generated {len(png)} bytes; eye side asked left, seen {seen['eye_side']}; {available} of 16 labels available")
if KEY:
    try:
        call("/v1/generate", request, "application/json", "image/png", key="")
    except urllib.error.HTTPError as refused:
        assert refused.code == 401, refused.code
        print("refused without a key")
    else:
        raise SystemExit("answered without a key")
