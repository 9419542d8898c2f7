"""`GET /regions`, `GET /regions/{id}` and `GET /versions`: regions, their adapters and hit rates."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from fastapi import APIRouter, HTTPException, Request

from adapters_store.errors import StoreError
from consumers.http.problems import problems
from consumers.server.canary_controller import current_trial
from consumers.server.service import Service
from consumers.server.views.regions import View
from pipeline.recommend.canary import Canary
from pipeline.regions.projection import Plane
from pipeline.regions.region import Region

router = APIRouter(tags=["regions"])


@router.get("/regions")
def regions(request: Request) -> dict[str, Any]:
    """Every live region, as of the newest revision.

    `x` and `y` are coordinates on the plane of the two principal axes of all centroids, which holds `plane_share` of
    their variance; `traffic` is the share of the newest events, null before there are any.
    """
    service: Service = request.app.state.service
    view = service.live.view
    centroids = np.stack([region.centroid for region in view.bank.live])
    plane, traffic = Plane(centroids), service.activity.traffic()
    live = [
        {**_summary(region, view, service), "x": float(x), "y": float(y), "traffic": _share(traffic, region)}
        for region, (x, y) in zip(view.bank.live, plane.project(centroids), strict=True)
    ]
    return {
        "revision": view.revision,
        "gate_version": view.bank.gate_version,
        "plane_share": plane.share,
        "regions": live,
    }


@router.get("/versions")
def versions(request: Request) -> dict[int, list[Mapping[str, Any]]]:
    """Region id -> its adapter versions, newest first: candidates for a rollback."""
    service: Service = request.app.state.service
    return service.activity.versions()


@router.get("/regions/{region_id}", responses=problems(404))
def region(region_id: int, request: Request) -> dict[str, Any]:
    """One region, retired ones included: centroid, adapter, versions, edits and hit rates."""
    service: Service = request.app.state.service
    view = service.live.view
    found = next((r for r in view.bank.regions if r.region_id == region_id), None)
    if found is None:
        raise HTTPException(404, f"there is no region {region_id}")
    return {
        **_summary(found, view, service),
        "centroid": found.centroid.tolist(),
        "concentration": found.concentration,
        "manifest": _manifest(found.adapter, service),
        "versions": service.store.names(region_id),
        "edits": service.edits.of_region(region_id),
    }


def _summary(region: Region, view: View, service: Service) -> dict[str, Any]:
    return {
        "region_id": region.region_id,
        "version": region.version,
        "status": str(region.status),
        "origin": region.origin,
        "parent": region.parent,
        "opened_at": region.opened_at,
        "radius": region.radius,
        "prior": region.prior,
        "trust": region.adapter_weight,
        "adapter": region.adapter,
        "refused": view.failed.get(region.region_id),
        "pinned": service.live.pins.get(region.region_id),
        "hit_rates": service.tally.of_region(region.region_id),
        "canary": _canary(view.canaries.get(region.region_id), service),
    }


def _canary(canary: Canary | None, service: Service) -> dict[str, Any] | None:
    if canary is None:
        return None
    fields = {"trust" if name == "adapter_weight" else name: value for name, value in asdict(canary).items()}
    difference = service.click_difference(canary)
    trial = asdict(current_trial(canary, service.tally))
    return {**fields, "trial": {**trial, "difference": None if difference is None else asdict(difference)}}


def _share(traffic: Mapping[int, float], region: Region) -> float | None:
    return traffic.get(region.region_id, 0.0) if traffic else None


def _manifest(adapter: str | None, service: Service) -> dict[str, Any] | None:
    if adapter is None:
        return None
    try:
        return service.store.show(adapter).model_dump()
    except StoreError as error:
        return {"refused": str(error)}
