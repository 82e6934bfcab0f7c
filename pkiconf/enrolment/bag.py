"""Everything of requests without a key in one frozen value, for endpoints, worker and command line."""

from __future__ import annotations

from dataclasses import dataclass

from pkiconf.authority.service_certificates import ServiceCertificates
from pkiconf.egress.mail import Post, post
from pkiconf.enrolment.claims import Claims
from pkiconf.enrolment.grants import Grants
from pkiconf.enrolment.handover import Handover
from pkiconf.enrolment.links import Links
from pkiconf.enrolment.outbox import Outbox
from pkiconf.enrolment.profiles import Profiles
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.pipeline import Pipeline
from pkiconf.issuance.requests import Requests
from pkiconf.scep.challenges import Challenges


@dataclass(frozen=True)
class Enrolment:
    grants: Grants
    claims: Claims
    profiles: Profiles
    handover: Handover
    outbox: Outbox


def make_enrolment(
    parts: Parts,
    pipeline: Pipeline,
    requests: Requests,
    challenges: Challenges,
    service_certificates: ServiceCertificates,
    send: Post = post,
) -> Enrolment:
    links = Links(parts)
    grants = Grants(parts, pipeline, links)
    profiles = Profiles(parts, challenges, service_certificates)
    return Enrolment(
        grants=grants,
        claims=Claims(parts, pipeline),
        profiles=profiles,
        handover=Handover(grants, profiles, requests),
        outbox=Outbox(parts, links, send),
    )
