-- A chapter's pandoc markdown → the blocks of the EPUB: ids that are unique in the book,
-- figures with their numbers, and the solutions at the chapter's end.

local prefix, number = "", ""
local shift = 0 -- levels by which headings go down
local figures = {} -- label → number within the chapter
local titles = {} -- id of an exercise → its title
local solved = {} -- ids of exercises that have a solution
local begun = {} -- those whose solution has its heading already
local solutions = pandoc.List()

local function own(id)
  return prefix .. "--" .. id
end

-- A boxed formula gets its box from the style sheet: few readers draw MathML's own.
function Math(el)
  local inner = el.mathtype == "DisplayMath" and el.text:match("^%s*\\boxed%s*(%b{})%s*$")
  if inner then
    el.text = inner:sub(2, -2)
    return pandoc.Span(el, pandoc.Attr("", { "keyeq" }))
  end
end

local function numbered(label)
  local n = figures[label]
  return number == "" and tostring(n) or number .. "." .. n
end

local function pointer(target, words)
  return pandoc.Span(pandoc.Link(words, "#" .. target), pandoc.Attr("", { "pointer" }))
end

function Link(el)
  local id = el.target:match("^#(.+)")
  if id then
    el.target = "#" .. own(id)
    return el
  elseif el.target:match("^mailto:") then
    return el.content -- "pass@1" is no address
  elseif el.target:match("^%a[%w+.-]*:") then
    return el
  end
  return el.content -- a file has no meaning outside of the repository
end

function Span(el)
  if el.classes:includes("keyeq") then
    return el
  elseif el.classes:includes("figref") then
    local label = el.attributes.target
    return pandoc.Link("Figure\u{A0}" .. numbered(label), "#" .. own(label))
  elseif el.classes:includes("xref") then
    local id = el.attributes.topic:gsub("/", "-")
    local slug = el.attributes.slug or ""
    return pandoc.Link(el.content, "#" .. id .. (slug ~= "" and "--" .. slug or ""))
  end
  return el.content
end

-- Empty braces: citeproc would take "chap. 2" for a locator and set it in its own way.
function Cite(el)
  for _, citation in ipairs(el.citations) do
    if #citation.suffix > 0 then
      citation.suffix:insert(1, pandoc.Str("{}"))
    end
  end
  return el
end

function HorizontalRule()
  return {}
end

function CodeBlock(el)
  local class = el.classes[1] or ""
  return pandoc.CodeBlock(el.text, pandoc.Attr("", { class }))
end

function Header(el)
  local id = el.identifier
  if solved[id] then
    el.content:extend({ pandoc.Space(), pointer(own(id .. "--solution"), "solution") })
  end
  if el.level == 1 then
    el.identifier = prefix -- the label that links to the whole topic use
    if number ~= "" then
      el.content = pandoc.Inlines({ pandoc.Str(number .. "\u{2002}") }) .. el.content
    end
  elseif id ~= "" then
    el.identifier = own(id)
  end
  el.level = el.level + shift
  if id ~= "" and el.identifier == prefix then
    return { el, pandoc.Div({}, pandoc.Attr(own(id))) }
  end
  return el
end

-- ---- divs

local divs = {}

function divs.figure(el)
  local image = pandoc.Image({}, el.attributes.file)
  image.attributes.alt = el.attributes.alt
  image.caption = pandoc.Inlines(el.attributes.alt)
  local label = pandoc.Strong("Figure\u{A0}" .. numbered(el.identifier) .. ".")
  local caption = pandoc.utils.blocks_to_inlines(el.content)
  local words = pandoc.Inlines({ label, pandoc.Space() }) .. caption
  return pandoc.Figure(
    { pandoc.Plain({ image }) },
    { long = { pandoc.Plain(words) } },
    pandoc.Attr(own(el.identifier))
  )
end

function divs.callout(el)
  local kind = el.attributes.kind
  local title = kind:sub(1, 1):upper() .. kind:sub(2)
  local blocks = pandoc.List({ pandoc.Para({ pandoc.Strong(title) }) })
  blocks:extend(el.content)
  return pandoc.Div(blocks, pandoc.Attr("", { "callout", kind }))
end

function divs.exercise(el)
  return el.content
end

function divs.solution(el)
  local id = el.attributes.exercise
  if not begun[id] then
    begun[id] = true
    local title = pandoc.Inlines(titles[id] or { pandoc.Str("Exercise") })
    title:extend({ pandoc.Space(), pointer(own(id), "exercise") })
    solutions:insert(pandoc.Header(3 + shift, title, pandoc.Attr(own(id .. "--solution"))))
  end
  solutions:extend(el.content)
  return {}
end

function Div(el)
  for class, convert in pairs(divs) do
    if el.classes:includes(class) then
      return convert(el)
    end
  end
  return el
end

-- ---- the chapter

local function collect(doc)
  prefix = pandoc.utils.stringify(doc.meta.prefix or "")
  number = pandoc.utils.stringify(doc.meta.number or "")
  shift = tonumber(pandoc.utils.stringify(doc.meta.shift or "0"))
  local count = 0
  doc:walk({
    traverse = "topdown",
    Header = function(el)
      titles[el.identifier] = el.content
    end,
    Div = function(el)
      if el.classes:includes("figure") then
        count = count + 1
        figures[el.identifier] = count
      elseif el.classes:includes("solution") then
        solved[el.attributes.exercise] = true
      end
    end,
  })
end

local convert = {
  Math = Math, Link = Link, Span = Span, Cite = Cite, HorizontalRule = HorizontalRule,
  CodeBlock = CodeBlock, Header = Header, Div = Div,
}

function Pandoc(doc)
  collect(doc)
  for id, title in pairs(titles) do
    titles[id] = pandoc.Inlines(title):walk(convert)
  end
  local blocks = doc.blocks:walk(convert)
  if #solutions > 0 then
    blocks:insert(pandoc.Header(2 + shift, "Solutions", pandoc.Attr(own("solutions"))))
    blocks:extend(solutions)
  end
  return pandoc.Pandoc(blocks)
end

return { { Pandoc = Pandoc } }
