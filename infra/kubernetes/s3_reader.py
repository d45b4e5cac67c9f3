"""Let the account `reader` of infra/kubernetes/s3-store.yaml read the bucket, and nothing more."""

import json

import boto3
from botocore.config import Config

BUCKET = "arn:aws:s3:::synfundus"
POLICY = {
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": ["reader"]},
            "Action": ["s3:GetObject", "s3:ListBucket"],
            "Resource": [BUCKET, f"{BUCKET}/*"],
        }
    ]
}
path_style = Config(s3={"addressing_style": "path"})
client = boto3.client("s3", endpoint_url="http://127.0.0.1:7070", region_name="us-east-1", config=path_style)
client.put_bucket_policy(Bucket="synfundus", Policy=json.dumps(POLICY))
