"""Every storage key, drawn once. Nothing else spells one.

    docker/registry/v2/
      blobs/<alg>/<first two hex>/<hex>/data
      repositories/<name>/
        _layers/<alg>/<hex>/link
        _manifests/
          revisions/<alg>/<hex>/link
          tags/<tag>/current/link
          tags/<tag>/index/<alg>/<hex>/link
          referrers/<alg>/<subject hex>/<alg>/<hex>/link     fastreg's own
          referrers/scanned                                  fastreg's own
        _uploads/<uuid>/
          startedat
          data
          verified                                           fastreg's own
          hashstates/<alg>/<offset>

The names are the reference registry's (distribution, registry/storage/paths.go); what is
fastreg's own it ignores. Components that start with `_` are no repository names.
"""

from typing import Final

from fastreg.oci.digest import Digest, InvalidDigest

BLOBS: Final = "docker/registry/v2/blobs"
REPOSITORIES: Final = "docker/registry/v2/repositories"


def blob_data(digest: Digest) -> str:
    return f"{BLOBS}/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}/data"


def digest_of_data(key: str) -> Digest | None:
    """Return the digest under which `key` keeps content, None for any other key."""
    if not key.startswith(BLOBS):
        return None
    *_, algorithm, _, encoded, _ = f"///{key}".split("/")
    try:
        digest = Digest.parse(f"{algorithm}:{encoded}")
    except InvalidDigest:
        return None
    return digest if key == blob_data(digest) else None


def repository(name: str) -> str:
    return f"{REPOSITORIES}/{name}"


def manifests_root(name: str) -> str:
    return f"{REPOSITORIES}/{name}/_manifests"


def layers_root(name: str) -> str:
    return f"{REPOSITORIES}/{name}/_layers"


def layer_link(name: str, digest: Digest) -> str:
    return f"{layers_root(name)}/{digest.algorithm}/{digest.hex}/link"


def revisions(name: str) -> str:
    return f"{manifests_root(name)}/revisions"


def revision_link(name: str, digest: Digest) -> str:
    return f"{revisions(name)}/{digest.algorithm}/{digest.hex}/link"


def tags(name: str) -> str:
    return f"{manifests_root(name)}/tags"


def tag_current(name: str, tag: str) -> str:
    return f"{tags(name)}/{tag}/current/link"


def tag_index(name: str, tag: str) -> str:
    return f"{tags(name)}/{tag}/index"


def tag_index_link(name: str, tag: str, digest: Digest) -> str:
    return f"{tag_index(name, tag)}/{digest.algorithm}/{digest.hex}/link"


def referrers(name: str, subject: Digest) -> str:
    return f"{manifests_root(name)}/referrers/{subject.algorithm}/{subject.hex}"


def referrer_link(name: str, subject: Digest, digest: Digest) -> str:
    return f"{referrers(name, subject)}/{digest.algorithm}/{digest.hex}/link"


def referrers_scanned(name: str) -> str:
    return f"{manifests_root(name)}/referrers/scanned"


def uploads(name: str) -> str:
    return f"{REPOSITORIES}/{name}/_uploads"


def upload(name: str, upload_id: str) -> str:
    return f"{uploads(name)}/{upload_id}"


def upload_data(name: str, upload_id: str) -> str:
    return f"{upload(name, upload_id)}/data"


def upload_started_at(name: str, upload_id: str) -> str:
    return f"{upload(name, upload_id)}/startedat"


def upload_verified(name: str, upload_id: str) -> str:
    return f"{upload(name, upload_id)}/verified"


def hash_states(name: str, upload_id: str) -> str:
    return f"{upload(name, upload_id)}/hashstates"


def hash_state(name: str, upload_id: str, algorithm: str, offset: int | str) -> str:
    return f"{hash_states(name, upload_id)}/{algorithm}/{offset}"
