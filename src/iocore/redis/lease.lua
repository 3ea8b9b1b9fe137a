-- Grants of one limit to instances: what `policy/lease/central.rs` does, in Redis, so that all of it is one step. All things that the limit
-- counts are granted together or not at all. The time is Redis's own; what a lapsed holder did not spend counts as spent.
--
-- KEYS: when this database was born; the limit's state. ARGV: see `ask` below; -1 stands for nothing. Answers {} to an ask that a later one
-- has overtaken. Who parks is served in the order of arrival, held in the state itself: there are as many as instances, so a sorted set
-- would only be a second key.

local D = 4
local at = 0
local function one() at = at + 1; return tonumber(ARGV[at]) end
local function four()
  local t = {}
  for d = 1, D do t[d] = one() end
  return t
end
local function zero() return {0, 0, 0, 0} end

local LEASE = one() * 1000
at = at + 1
local who = ARGV[at]
local ask = {number = one(), lease = one(), epoch = one(), spent = four(), returned = four(), held = four(), want = four(),
  least = four(), demand = four(), parked = four(), waited = one(), rate = four(), burst = four(), ceiling = four(), issued = one()}

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

local function state_of(L, learns, half)
  -- L: level; u: nothing is granted before; c: up to half of the burst before; v: what flowed and had no room, for debts
  return {e = now, t = now, n = 0, L = L, u = learns, c = half, v = zero(), r = {-1, -1, -1, -1}, b = {-1, -1, -1, -1}, h = {}}
end

local raw = redis.call('GET', KEYS[2])
local s
if raw then
  s = cmsgpack.unpack(raw)
else
  local born = tonumber(redis.call('GET', KEYS[1]) or '')
  if not born then
    born = now
    redis.call('SET', KEYS[1], string.format('%.0f', now))
  end
  if now < born + LEASE then
    -- New, or emptied: who holds something says so until then.
    s = state_of(zero(), born + LEASE, born + 2 * LEASE)
    s.r, s.b = ask.rate, ask.burst
  else
    -- Not used for so long that it is full.
    s = state_of(zero(), 0, 0)
  end
end

-- Writes were lost, or the clock went back: what is out is not known.
local function forget()
  local r, b = s.r, s.b
  s = state_of(zero(), now + LEASE, now + 2 * LEASE)
  s.r, s.b = r, b
end

local known = s.h[who]
if known and ask.number <= known.q then return {} end
if now < s.t - 1000000 then
  forget()
elseif ask.epoch == s.e then
  local lost = ask.lease > s.n
  if known and known.n == ask.lease then
    for d = 1, D do
      lost = lost or ask.held[d] + ask.spent[d] + ask.returned[d] > known.g[d]
    end
  end
  if lost then forget() end
end
now = math.max(now, s.t)

local function held_of(h, d) return h.g[d] - h.s[d] - h.r[d] end

local function out()
  local o = zero()
  for _, h in pairs(s.h) do
    for d = 1, D do o[d] = o[d] + math.max(held_of(h, d), 0) end
  end
  return o
end

local function cap(d, o)
  local most = s.b[d]
  -- Others may still live on what they issued to themselves, up to the other half.
  if now < s.c then most = most / 2 end
  return most - o[d]
end

local function refill()
  local gap = now - s.t > LEASE
  local learnt = math.min(math.max(s.u, s.t), now)
  local o = out()
  for d = 1, D do
    if s.r[d] >= 0 then
      -- Thousandths a minute: sixty thousand million of them are one a microsecond.
      local rate = s.r[d] / 60000000000
      local most = cap(d, o)
      local full = s.L[d] + rate * (now - learnt)
      if now >= s.u and now >= s.c and not gap then s.v[d] = 0 end
      if gap then s.v[d] = math.max(full - most, 0) end
      -- What flows while we learn is there for what is issued elsewhere meanwhile.
      s.v[d] = s.v[d] + rate * (learnt - s.t)
      s.L[d] = math.min(full, most)
    end
  end
  s.t = now
end

local function clip()
  local o = out()
  for d = 1, D do
    if s.r[d] >= 0 then s.L[d] = math.min(s.L[d], cap(d, o)) end
  end
end

-- The least that instances say counts.
local function set_limits()
  local r, b = {-1, -1, -1, -1}, {-1, -1, -1, -1}
  for _, h in pairs(s.h) do
    for d = 1, D do
      if h.lr[d] >= 0 then
        r[d] = r[d] < 0 and h.lr[d] or math.min(r[d], h.lr[d])
        b[d] = b[d] < 0 and h.lb[d] or math.min(b[d], h.lb[d])
      end
    end
  end
  local o, old = out(), s.r
  s.r, s.b = r, b
  for d = 1, D do
    if r[d] >= 0 then
      local most = cap(d, o)
      s.L[d] = old[d] < 0 and most or math.min(s.L[d], most)
    end
  end
end

local function charge(d, debt)
  local met = math.min(s.v[d], debt)
  s.v[d] = s.v[d] - met
  s.L[d] = s.L[d] - (debt - met)
end

local function begin()
  local old = s.h[who]
  local before = zero()
  if old and old.be[1] == ask.lease and old.be[2] == ask.epoch then
    -- It never heard of that lease, so nobody spends from it; what it owed was charged.
    for d = 1, D do s.L[d] = s.L[d] + math.max(held_of(old, d) - old.k[d], 0) end
    before = old.o
  end
  local owed, kept = zero(), zero()
  for d = 1, D do
    owed[d] = math.max(-ask.held[d], 0)
    -- What was spent before all was forgotten is in what was forgotten: the level began at nothing.
    if ask.epoch == s.e or now >= s.u then charge(d, math.max(owed[d] - before[d], 0)) end
    if now < s.u then kept[d] = math.max(ask.held[d], 0) end
  end
  s.n = s.n + 1
  local g = {}
  for d = 1, D do g[d] = kept[d] end
  s.h[who] = {n = s.n, be = {ask.lease, ask.epoch}, k = kept, q = ask.number, g = g, s = zero(), r = zero(), o = owed, x = 0}
end

-- Comes to now.
for id, h in pairs(s.h) do
  if h.x <= now then s.h[id] = nil end
end
refill()

-- What the holder says of itself.
known = s.h[who]
local same = known and ask.epoch == s.e and known.n == ask.lease
if ask.issued == 1 and now >= s.c then
  -- It lived on its own for a while, and others may: they are heard before anything is granted.
  s.u, s.c = now + LEASE, now + 2 * LEASE
  clip()
end
if not same then begin() end
local h = s.h[who]
if same then
  for d = 1, D do
    s.L[d] = s.L[d] + ask.returned[d] - h.r[d]
    h.s[d], h.r[d] = ask.spent[d], ask.returned[d]
    local debt = math.max(-held_of(h, d), 0)
    h.g[d] = h.g[d] + debt
    charge(d, debt)
  end
end
h.q, h.x, h.w, h.d = ask.number, now + LEASE, ask.want, ask.demand
h.lr, h.lb = ask.rate, ask.burst
h.p, h.ps = nil, nil
set_limits()
local parked = false
for d = 1, D do
  if ask.parked[d] >= 0 then parked = true end
end
if parked then
  h.p, h.ps = zero(), now - ask.waited * 1000
  for d = 1, D do
    if s.r[d] >= 0 then h.p[d] = math.min(ask.parked[d], s.b[d]) end
  end
end
local o = out()
for d = 1, D do
  if ask.ceiling[d] >= 0 then s.L[d] = math.min(s.L[d], ask.ceiling[d] - o[d]) end
end
clip()

-- What is there, less `need`, and less what those others wait for who count.
local function free_less(need, counts)
  local free = {}
  for d = 1, D do free[d] = s.L[d] - need[d] end
  for id, other in pairs(s.h) do
    if other.p and counts(id, other) then
      for d = 1, D do free[d] = free[d] - math.max(other.p[d] - math.max(held_of(other, d), 0), 0) end
    end
  end
  return free
end

-- Water-filling by demand.
local function share(d, free)
  local wanting, weights = {}, 0
  for id, other in pairs(s.h) do
    if other.w[d] > 0 then
      local weight = other.d[d] + 1
      weights = weights + weight
      table.insert(wanting, {id, other.w[d], weight})
    end
  end
  table.sort(wanting, function(a, b)
    local x, y = a[2] / a[3], b[2] / b[3]
    if x == y then return a[1] < b[1] end
    return x < y
  end)
  local left = free
  for _, w in ipairs(wanting) do
    local fair = math.floor(left * w[3] / math.max(weights, 1))
    if w[1] == who then return fair end
    left = left - math.min(w[2], fair)
    weights = weights - w[3]
  end
  return 0
end

local function give()
  if now < s.u then return zero(), s.u - now end
  local need, wait = zero(), 0
  if h.p then
    local free = free_less(zero(), function(id, other)
      return other.ps < h.ps or other.ps == h.ps and id < who
    end)
    for d = 1, D do
      need[d] = math.max(h.p[d] - math.max(held_of(h, d), 0), 0)
      if s.r[d] >= 0 and need[d] > 0 and need[d] > free[d] then
        wait = math.max(wait, (need[d] - free[d]) / math.max(s.r[d] / 60000000000, 1e-12))
      end
    end
    if wait > 0 then return zero(), wait end
  end
  local free = free_less(need, function(id) return id ~= who end)
  local part, some, gets = 1, zero(), need
  for d = 1, D do free[d] = math.max(math.floor(free[d]), 0) end
  for d = 1, D do
    if s.r[d] >= 0 and h.w[d] > 0 then
      local fair = math.min(math.max(share(d, free[d]), ask.least[d]), free[d])
      if h.w[d] > fair then part = math.min(part, fair / h.w[d]) end
    end
  end
  for d = 1, D do
    if s.r[d] >= 0 then
      some[d] = math.max(math.floor(h.w[d] * part), math.min(ask.least[d], h.w[d]))
      -- Less than a middling call is of no use.
      if some[d] > free[d] then return need, nil end
    end
  end
  gets = zero()
  for d = 1, D do gets[d] = need[d] + some[d] end
  return gets, nil
end

local recall = 0
for id, other in pairs(s.h) do
  if other.p and id ~= who then recall = 1 end
end
local left = zero()
o = out()
for d = 1, D do left[d] = math.floor((s.L[d] + o[d]) * 1000) end
local gets, retry = give()
for d = 1, D do
  s.L[d] = s.L[d] - gets[d]
  h.g[d] = h.g[d] + gets[d]
  h.w[d] = math.max(h.w[d] - gets[d], 0)
end
if not retry then h.p, h.ps = nil, nil end

local part, others = 1, zero()
for d = 1, D do
  if s.r[d] >= 0 then
    local all = 0
    for id, other in pairs(s.h) do
      all = all + other.d[d] + 1
      if id ~= who then others[d] = others[d] + other.d[d] end
    end
    part = math.min(part, (h.d[d] + 1) / all)
  end
end

local full = 2 * LEASE
for d = 1, D do
  if s.r[d] > 0 then full = math.max(full, 2 * LEASE + (s.b[d] - s.L[d]) / (s.r[d] / 60000000000)) end
  if s.r[d] == 0 then full = 86400000000 end
end
redis.call('SET', KEYS[2], cmsgpack.pack(s), 'PX', string.format('%.0f', math.min(math.max(full, 10000000), 86400000000) / 1000))

local reply = {ask.number, h.n, s.e, same and 0 or 1, LEASE / 1000, retry and math.ceil(retry / 1000) or -1, recall,
  math.floor(part * 1000000), now < s.u and 1 or 0}
for _, t in ipairs({h.g, s.r, s.b, left, others}) do
  for d = 1, D do table.insert(reply, t[d]) end
end
return reply
