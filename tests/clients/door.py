"""The door as AWS clients see it, with a simulated Glacier behind it."""

import boto3
from botocore.config import Config

from conftest import REGION, Gateway, Simulator


class Door(Gateway):
    """`glacier-gateway dev`: the door at `endpoint`, the simulator `behind` it."""

    def __init__(self):
        super().__init__()
        self.endpoint = self.door
        self.behind = Simulator.__new__(Simulator)
        self.behind.control = self.simulator["control"]

    def key(self, team="media"):
        key = self.keys[team]
        return key["accessKeyId"], key["secretAccessKey"]

    def client(self, team="media", key_id=None, secret=None, token=None, region=REGION, **config):
        """A boto3 client as anyone would make it, but for its endpoint and key."""
        own_id, own_secret = self.key(team)
        return boto3.client(
            "glacier",
            endpoint_url=self.endpoint,
            region_name=region,
            aws_access_key_id=key_id or own_id,
            aws_secret_access_key=secret or own_secret,
            aws_session_token=token,
            config=Config(**config),
        )
