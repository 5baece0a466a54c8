-- One read of the API (anything but a create) in its own sliding window. Half of it may be used at once; what is left
-- then is spread until the oldest reads leave, so that after a burst nobody waits for the rest of a window.
-- KEYS[1]  reads  list  "bucket:reads", oldest first; 60 buckets a window
-- ARGV[1]  window (ms)   ARGV[2]  reads allowed in it
-- Returns 0: read now; otherwise the ms to wait before asking again.

local window_ms, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local bucket_ms = math.max(1, math.floor(window_ms / 60))
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local bucket = math.ceil(now / bucket_ms) * bucket_ms
local reads, newest, oldest_leaves = 0, nil, nil
for _, entry in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  local at, count = string.match(entry, '(%d+):(%d+)')
  if tonumber(at) + window_ms <= now then
    redis.call('LPOP', KEYS[1])
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
  redis.call('LSET', KEYS[1], -1, string.format('%.0f:%d', newest[1], newest[2] + 1))
else
  redis.call('RPUSH', KEYS[1], string.format('%.0f:1', bucket))
end
redis.call('PEXPIRE', KEYS[1], 2 * window_ms)
return 0
