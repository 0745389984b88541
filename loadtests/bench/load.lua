-- wrk -s load.lua URL: prints the exact totals of the run as one line.

function done(summary)
  local e = summary.errors
  io.write(string.format("totals %d %d %d %d\n", summary.requests, summary.bytes,
    summary.duration, e.connect + e.read + e.write + e.status + e.timeout))
end
