"""Workers of the service on a cluster: they answer from the database, and end when nobody wants them."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoders.errors import OptionError
from tests.dask_cluster import dask_cluster
from tests.verifier.service.asking import asked, ended
from tests.verifier.service.conftest import serving
from verifier.service.on_cluster import ClusterWorkers
from verifier.service.settings import Settings

pytestmark = pytest.mark.slow

ELSEWHERE = {"cluster": "tcp://there:8786", "database": "postgresql+psycopg://me@db/plumbline"}


@pytest.mark.usefixtures("reading_here")
def test_a_cluster_answers_for_the_service(settings: Settings, tmp_path: Path) -> None:
    """The database is a file of this machine, as the cluster is."""
    with dask_cluster(tmp_path, "--no-nanny") as (address, _), serving(settings) as (client, service):
        run = asked(client, question="verify", radius=0.01)
        workers = ClusterWorkers(address, settings.place)
        workers.start()
        try:
            assert ended(client, run["id"])["state"] == "finished"
            assert service.store.beats()
        finally:
            workers.stop()


def test_what_workers_elsewhere_do_not_reach_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="SQLite"):
        Settings(tmp_path, cluster="tcp://there:8786", files="s3://bucket/plumbline")
    with pytest.raises(OptionError, match="--files URL"):
        Settings(tmp_path, **ELSEWHERE)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="cluster 'there'"):
        Settings(tmp_path, cluster="there")
    assert Settings(tmp_path, files="s3://bucket/plumbline", **ELSEWHERE).cluster is not None  # type: ignore[arg-type]
    assert Settings(tmp_path, cluster="local:2").database_url.startswith("sqlite:")
