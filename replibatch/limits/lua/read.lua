-- One read of the API (anything but a create) in its own sliding window. Half of the window may be used at once; the rest
-- is spread until the oldest reads leave, so that no reader waits for a whole window after a burst.
-- call: window_ms, limit (reads allowed in it); the list `reads` has 60 buckets a window
-- Returns 0: read now; otherwise the ms to wait before asking again.

local READS, window_ms, limit = key('reads'), call.window_ms, call.limit
local bucket_ms = math.max(1, math.floor(window_ms / 60))
local now = server_ms()
local bucket = math.ceil(now / bucket_ms) * bucket_ms
local reads, newest, oldest_leaves = 0, nil, nil
for _, entry in ipairs(redis.call('LRANGE', READS, 0, -1)) do
  local at, count = string.match(entry, '(%d+):(%d+)')
  if tonumber(at) + window_ms <= now then
    redis.call('LPOP', READS)
  else
    oldest_leaves = oldest_leaves or tonumber(at) + window_ms
    reads = reads + tonumber(count)
    newest = { tonumber(at), tonumber(count) }
  end
end
if reads >= limit then return math.max(1, oldest_leaves - now) end
if reads > 0 and 2 * reads >= limit then
  local gap_ms = (oldest_leaves - now) / (limit - reads)
  local free_at = newest[1] - bucket_ms + gap_ms
  if gap_ms < bucket_ms then free_at = newest[1] >= bucket and newest[2] * gap_ms >= bucket_ms and bucket or now end
  if free_at > now then return math.ceil(free_at - now) end
end
if newest and newest[1] >= bucket then
  redis.call('LSET', READS, -1, whole(newest[1]) .. ':' .. newest[2] + 1)
else
  redis.call('RPUSH', READS, whole(bucket) .. ':1')
end
redis.call('PEXPIRE', READS, 2 * window_ms)
return 0
