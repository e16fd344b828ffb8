"""Client of an OpenAI-compatible chat endpoint, for the teacher and the judge."""

from clinadapt.llm_client.chat_client import ChatClient, Closed, OutOfTokens, Refused
from clinadapt.llm_client.replies import Reply

__all__ = ["ChatClient", "Closed", "OutOfTokens", "Refused", "Reply"]
