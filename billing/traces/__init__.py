"""Traces: recorded traffic, read into the steps that are metered. Pure readers; no database, no clock.

A trace is a file of requests that somebody else recorded. Each format has a reader that turns a file into a `Trace`:
steps in the order of time, each with its tokens, and the faults of rows that could not be read. What a trace does not
say is left empty; what we conclude from it is labelled as such in the record's metadata.

## Agent sessions (`agent_session`)

One JSON file is one session: requests of the main agent, and sub-agents with requests of their own nested in them.

* Times are seconds since the session began, to the second. The `t` of a sub-agent is the moment when it **ended**, and
  its `duration_ms` leads back to its start; the times of its requests count from that start. (In the published traces
  sub-agents that one request dispatched begin within 0.02 s of each other this way and just after that request was
  answered; `t` read as the start would have them begin minutes apart and outlive the answer that waits for them.)
* `totals` adds the main agent's tokens to those of all sub-agents; `Trace.stated` keeps it to compare with.
* `in` includes cached input, as everywhere in our records.
* A request without `stop` and `api_time` was cut short or not seen to the end: it used tokens, and its outcome stays empty.

**Cached tokens are implied, not reported.** A trace names the leading blocks of each prompt by hashes (64 tokens a
block, comparable within one session) and says nothing about the provider's cache. Such caching is explicit and lives
for five minutes after its last use, so of each request we take:

* read from the cache: the longest run of leading blocks that it shares with an earlier request of the same model in
  the same session which was answered before, at most five minutes before;
* written to the cache: of the blocks that were not read, those that a later request then reads as above;
* neither: the rest, in particular the last, incomplete block.

This is what a client that marks its prompt well would have been billed; the real one may have written more than was
read again, or read less. Every record that is split so carries `"cache_split": "implied by prefix hashes"`.

## Azure's public LLM inference traces (`azure_llm`)

CSV files with the columns TIMESTAMP, ContextTokens and GeneratedTokens. The times have seven decimals, of which we keep
six, and no zone; they are taken as UTC. There is no customer and no model, so the provider cost is unpriced.
"""
