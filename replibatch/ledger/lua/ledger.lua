-- Who has which generation. This file is the head of every script in this folder.
--
-- KEYS[1]  the account's prefix; every key below starts with it
-- ARGV[1]  this call's arguments, JSON
--
-- gen:<id>             hash    a generation's record: request, state, attempt (number), model, prediction, process, fence,
--                              attempts (JSON), batch, index, priority, result (JSON), followers (batches)
-- custody:<process>    set     generations a process answers for, publishing or running; custody:- has no process
-- custodians           set     the processes that may have custody of something
-- queued:<priority>    zset    generation -> since when (ms) its message should be in that list of the queue
-- canceling            set     generations somebody wants canceled while they run
-- prediction:<id>      string  the attempt a prediction belongs to: claimed once
-- batch:<id>           hash    total, counters by state, cost, max_concurrent, held, catalog, created, closed
-- batch:<id>:pending   list    requests that wait, "id TAB index TAB model TAB request"
-- batch:<id>:dropped   list    what was in it when the batch was canceled
-- batch:<id>:out       set     generations of the batch that are queued or running
-- batch:<id>:finished  stream  id and index of each, as they finish
-- batches              zset    batch -> created at (ms)     batches:feeding  set  batches with pending requests
--
-- Every script is idempotent; every write to a record is fenced. Fences start at the time, so that a generation made
-- again never repeats one.

local PREFIX = KEYS[1]
local call = cjson.decode(ARGV[1])

local function key(...) return PREFIX .. table.concat({ ... }, ':') end
local function record_key(id) return key('gen', id) end
local function custody_key(process) return key('custody', process == '' and '-' or process) end

local now
do
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local function whole(value) return string.format('%.0f', value) end

-- A record as field -> value, nil where there is none.
local function read(id)
  local flat = redis.call('HGETALL', record_key(id))
  if #flat == 0 then return nil end
  local record = {}
  for i = 1, #flat, 2 do record[flat[i]] = flat[i + 1] end
  return record
end

-- Whether the caller still has the generation.
local function has(record)
  return record and record.state == 'running' and record.process == call.process
    and tonumber(record.fence) == call.fence
end

local function add_to_custody(id, process)
  redis.call('SADD', custody_key(process), id)
  redis.call('SADD', key('custodians'), process)
end

local function put_in_custody(id, record, process, state)
  redis.call('SREM', custody_key(record.process or ''), id)
  add_to_custody(id, process)
  redis.call('HSET', record_key(id), 'process', process, 'state', state)
end

-- From now on a message is on its way to that list of the queue, or in it, until a task takes custody.
local function expect_message(id, priority)
  redis.call('ZADD', key('queued', priority), whole(now), id)
end

local function expect_no_message(id, record)
  redis.call('ZREM', key('queued', record.priority), id)
end

-- Has the caller publish a message at the head of the queue.
local function publish_at_head(id, record)
  expect_no_message(id, record)
  put_in_custody(id, record, call.process, 'publishing')
  redis.call('HSET', record_key(id), 'priority', '0')
  expect_message(id, '0')
  record.priority = '0'
end

-- Out of everybody's hands.
local function release(id, record)
  redis.call('SREM', custody_key(record.process or ''), id)
  redis.call('SREM', key('canceling'), id)
end

local function message(id, record)
  return { id, tonumber(record.attempt), record.model, tonumber(record.priority) }
end

-- Counts a finished generation in its batch and tells whoever follows it.
local function finish_in_batch(batch, index, id, state, cost)
  local meta = key('batch', batch)
  redis.call('SREM', key('batch', batch, 'out'), id)
  redis.call('HINCRBY', meta, state, 1)
  redis.call('HINCRBY', meta, 'cost', whole(cost))
  redis.call('XADD', key('batch', batch, 'finished'), '*', 'id', id, 'index', index)
end

-- A batch that is closed and has nothing left expires with its records; one that goes on does not.
local function expire_if_over(batch, keep_ms)
  local counts = redis.call('HMGET', key('batch', batch), 'closed', 'total', 'succeeded', 'placeholder', 'failed',
    'canceled')
  local finished = 0
  for i = 3, 6 do finished = finished + (tonumber(counts[i]) or 0) end
  local over = counts[1] and finished >= (tonumber(counts[2]) or 0)
  for _, part in ipairs({ '', ':pending', ':dropped', ':out', ':finished' }) do
    local name = key('batch', batch) .. part
    if over then redis.call('PEXPIRE', name, whole(keep_ms)) else redis.call('PERSIST', name) end
  end
end

-- Makes room for a generation that is made again: the predictions of its earlier life are nobody's any more.
local function clear(id, record)
  for _, attempt in ipairs(cjson.decode(record.result).attempts) do
    if type(attempt.prediction_id) == 'string' then
      redis.call('SET', key('prediction', attempt.prediction_id), 'over', 'XX', 'KEEPTTL')
    end
  end
  redis.call('DEL', record_key(id), key('done', id))
end

-- The same id is the same job: one that succeeded counts at once, one on its way is followed. One that failed is
-- made again: returns false.
local function join_existing(id, batch, index)
  local record = read(id)
  if not record then return false end
  if record.state == 'succeeded' then
    finish_in_batch(batch, index, id, record.state, 0)
    return true
  end
  if record.result then
    clear(id, record)
    return false
  end
  redis.call('SADD', key('batch', batch, 'out'), id)
  redis.call('HSET', record_key(id), 'followers', (record.followers or '') .. batch .. '/' .. index .. ' ')
  return true
end

-- Moves as many pending requests as may be outstanding into the caller's publishing custody; returns their messages.
-- call.capacity is how many generations the account can make use of at once.
local function top_up(batch)
  local meta = redis.call('HMGET', key('batch', batch), 'max_concurrent', 'held', 'priority')
  local pending, out = key('batch', batch, 'pending'), key('batch', batch, 'out')
  local feeding = key('batches', 'feeding')
  if redis.call('LLEN', pending) == 0 or (meta[2] and meta[2] ~= '') then
    redis.call('SREM', feeding, batch)
    return {}
  end
  redis.call('SADD', feeding, batch)
  local share = math.max(1, math.ceil(call.capacity / redis.call('SCARD', feeding)))
  if tonumber(meta[1]) then share = math.min(share, tonumber(meta[1])) end
  local messages = {}
  for _ = 1, share - redis.call('SCARD', out) do
    local entry = redis.call('LPOP', pending)
    if not entry then
      redis.call('SREM', feeding, batch)
      break
    end
    local id, index, model, request = string.match(entry, '^([^\t]*)\t([^\t]*)\t([^\t]*)\t(.*)$')
    if not join_existing(id, batch, index) then
      redis.call('HSET', record_key(id), 'v', '1', 'state', 'publishing', 'process', call.process, 'fence', whole(now),
        'attempt', '1', 'model', model, 'request', request, 'batch', batch, 'index', index, 'priority', meta[3])
      add_to_custody(id, call.process)
      expect_message(id, meta[3])
      redis.call('SADD', out, id)
      messages[#messages + 1] = message(id, { attempt = '1', model = model, priority = meta[3] })
    end
  end
  return messages
end

