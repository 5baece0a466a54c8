-- Messages the queue has lost are published again, by the caller.
-- call: process, lists (object: priority -> the queue's list for it), grace_ms, most
-- Returns the messages.
--
-- A list is in the order of publishing. A message published well before the oldest one still in the list, and not
-- yet taken, has left the list; if the list is empty, so has every message published well before now.

local LOOK_AT = 20 -- messages of generations taken meanwhile, or over, prove nothing

local function lost_before(priority, list)
  for place = -1, -LOOK_AT, -1 do
    local text = redis.call('LINDEX', list, place)
    if not text then return place == -1 and now - call.grace_ms or nil end
    local since = redis.call('ZSCORE', key('queued', priority), cjson.decode(text).headers.id)
    if since then return tonumber(since) - call.grace_ms end
  end
end

local messages = {}
for priority, list in pairs(call.lists) do
  local before = lost_before(priority, list)
  local lost = before
    and redis.call('ZRANGEBYSCORE', key('queued', priority), '-inf', whole(before), 'LIMIT', 0, call.most) or {}
  for _, id in ipairs(lost) do
    local record = read(id)
    if record and (record.state == 'queued' or record.state == 'publishing') then
      publish_at_head(id, record)
      messages[#messages + 1] = message(id, record)
    else
      redis.call('ZREM', key('queued', priority), id)
    end
  end
end
return messages
