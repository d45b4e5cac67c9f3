"""`helm test`: one generation, one diagnosis of the image, and a refusal without a key. Standard library only."""

import json
import os
import urllib.error
import urllib.request

URL, KEY = os.environ["URL"], os.environ.get("KEY", "").strip()


def post(path: str, body: bytes, media_type: str, accept: str, key: str = KEY) -> bytes:
    """Return the body of the response."""
    headers = {"Content-Type": media_type, "Accept": accept}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    with urllib.request.urlopen(urllib.request.Request(URL + path, body, headers), timeout=300) as response:
        return response.read()


request = json.dumps({"condition": {"eye_side": 1, "is_fundus": 1}, "seed": 7}).encode()
png = post("/v1/generate", request, "application/json", "image/png")
assert png.startswith(b"\x89PNG"), png[:200]
diagnosis = json.loads(post("/v1/diagnose", png, "image/png", "application/json"))
(image,) = diagnosis["images"]
available = sum(label["status"] == "available" for label in image["predictions"].values())
print(f"generated {len(png)} bytes; eye side: requested left, predicted {image['eye_side']}")
print(f"{available} of 16 labels are available")
if KEY:
    try:
        post("/v1/generate", request, "application/json", "image/png", key="")
    except urllib.error.HTTPError as refused:
        assert refused.code == 401, refused.code
        print("refused without a key")
    else:
        raise SystemExit("accepted without a key")
