"""Every noun of the domain, from the slice that owns it. Other apps import models from here and nowhere else."""

from agents.audit.models import AuditEntry, AuditLeaf, AuditSeal
from agents.people.models import Membership, Permission, Role, Team, TeamOwnedQuerySet, Token, User
from agents.registry.models import Agent, Autonomy, ProgramSource, Release, Tool, ToolGrant
from agents.runs.control_models import Control, Override
from agents.runs.evidence import RUN_BOUNDS, AgentMinute, RunTotal, StepTotal, TickJob, Watermark, Worker
from agents.runs.models import Recording, Run
from agents.runs.step_models import Step, StepAttempt, StepPayload, Touch

__all__ = [
    "RUN_BOUNDS",
    "Agent",
    "AgentMinute",
    "AuditEntry",
    "AuditLeaf",
    "AuditSeal",
    "Autonomy",
    "Control",
    "Membership",
    "Override",
    "Permission",
    "ProgramSource",
    "Recording",
    "Release",
    "Role",
    "Run",
    "RunTotal",
    "Step",
    "StepAttempt",
    "StepPayload",
    "StepTotal",
    "Team",
    "TeamOwnedQuerySet",
    "TickJob",
    "Token",
    "Tool",
    "ToolGrant",
    "Touch",
    "User",
    "Watermark",
    "Worker",
]
