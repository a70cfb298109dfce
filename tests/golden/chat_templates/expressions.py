"""Small templates, one a line, for the filters, tests, methods, operators and white-space rules of
Jinja. Every one is rendered with CONTEXT."""

CONTEXT = {
    "text": "Hello, World",
    "spaced": " \t two  words\u00a0 \n",
    "many": "a,b,,c",
    "lines": "one\ntwo\r\nthree\n\nfive",
    "unicode": "Stra\u00dfe \u0130\u01c6 \u039f\u03a3 na\u00efve \u4f60\u597d \U0001f600",
    "html": "<a href=\"x\">it's & more</a>",
    "empty": "",
    "n": 7,
    "neg": -3,
    "x": 2.5,
    "yes": True,
    "nothing": None,
    "numbers": [3, 1, 2, 10, -1],
    "mixed": [1, "a", None, True, 2.5, [1], {"k": "v"}],
    "words": ["banana", "Apple", "cherry", "apple"],
    "d": {"b": 1, "a": "x", "C": None, "items": "own"},
    "nested": {"one": {"two": [10, {"three": "deep"}]}},
    "people": [
        {"name": "Ann", "age": 31, "city": {"name": "Oslo"}},
        {"name": "bob", "age": 25, "city": {"name": "Bern"}},
        {"name": "Cid", "age": 31, "city": {"name": "oslo"}},
        {"name": "Dan", "age": 19, "city": {"name": "Rome"}},
    ],
}

EXPRESSIONS = r"""
text
text|upper ~ text|lower
unicode|upper
unicode|lower
unicode|title
unicode.title()
unicode|capitalize
unicode.swapcase()
unicode|length
unicode[0:9]
unicode[::-1]
unicode[-3:]
unicode[-1]
unicode[100]
unicode[2:100:3]
unicode|list
unicode|reverse
text[1], text[-2], text[99] is defined
text[7:]
text[:-6]
text[::2]
text[10:2:-3]
text[::-1]
text[5:2]
text[none:3]
text[::0]
text['x':]
numbers[1:3], numbers[::-1], numbers[-2:], numbers[:1]
numbers[10], numbers['a']
numbers[true]
(1, 2, 3)[1:]
range(10)[2:8:2]|list
range(5), range(2, 5), range(5, 0, -2)
range(3)|list, range(5, 0, -2)|list, range(0)|list
range(3)|length, range(4)[-1], 3 in range(5), 9 in range(5), range(3) == range(0, 3)
range(200000)
range(1, 2, 0)
range('a')
range()
n + 1, n - 10, n * 2, n / 2, n // 2, n % 4, n ** 2
neg // 2, neg % 2, neg / 2, -7 // 2, -7 % 3, 7 % -3, 7.5 // 2, -7.5 % 2, 7.5 % -2
2 ** 10, 2 ** -1, 2 ** 0.5, 2 ** 3 ** 2, -2 ** 2
1 / 0
1 // 0
1 % 0
1.5 % 0
1 + 'a'
'a' + 1
'a' + 'b' 'c'
'ab' * 3, 3 * 'ab', 'ab' * -1, [1, 2] * 2, (1,) * 3
[1] + [2], (1, 2) + (3,)
[1] + (2,)
'a' - 'b'
none + 1
true + 1, true * 3, -true, +false
1e16, 1e15, 123456789.123, 1e-4, 1e-5, 0.1 + 0.2, 1.0, 1e22, 1.5e300, -0.0, 3.0e5
1_000, 0x1F, 0b101, 0o17, 1_0.5_0
9007199254740993 * 3, 4611686018427387904 + 4611686018427387903
1 < 2, 1 < 2 < 3, 1 < 3 < 2, 'a' < 'b', [1, 2] < [1, 3], 1 == 1.0, 1 == true, '1' == 1
1 < 'a'
none < 1
[1] < ['a']
1 != 2 == true
'a' in 'abc', 'x' not in 'abc', 1 in numbers, 'b' in d, 'z' not in d, none in mixed
1 in 'abc'
1 in 5
not true, not not 1, not ''
true and 'a', '' or 'b', none or 0 or 'c', 1 and 2 and 3, '' and 5
'yes' if n > 5 else 'no'
'yes' if n > 50
('yes' if n > 50).x
1 if false else 2 if false else 3
text ~ 1 ~ none ~ true ~ 2.5 ~ missing ~ [1, 'a']
missing
missing.attribute
missing['item']
missing + 1
1 + missing
'a' + missing
missing()
missing < 1
missing == missing2, missing == none, missing is defined, missing in [1], [missing]
-missing
missing|length, missing|list, missing|join(','), missing|upper, missing|default('d')
missing|int
missing|tojson
missing|first
missing|last
missing|sum, missing|map('upper')|list, missing|selectattr('a')|list
missing|items|list
missing.a.b is defined
d.missing is defined, d.missing is undefined, d.missing
d.missing.more
nested.one.two[1].three, nested['one']['two'][0], nested.one.two.0, nested.one.two.1.three
nested.one.nope.more
none.x
none['x'].y
(5).foo.bar
text.foo.bar
numbers.foo
d
d.b, d['a'], d.C, d['zz']
d.items()|list
d['items']
d.keys(), d.values(), d.items()
d.keys()|list, d.values()|list, d|list, d|length
d.get('b'), d.get('q'), d.get('q', 5)
d.get('q', default=5)
d.copy() == d
d.pop('a')
d.update({'a': 1})
d.clear
numbers.append(1)
numbers.sort()
numbers.pop
numbers.index(2), numbers.count(1), numbers.copy()
numbers.index(99)
(1, 2, 1).count(1), (1, 2).index(2)
text.__class__
text.__class__.__mro__
d['__class__']
''.__class__.x
d._private
[1, 2.0, 'a', "it's", 'say "x"', 'both\'"', none, true, undefined_name, (1,), (), {'a': [1]}, {}]
['tab\t', 'new\nline', 'back\\slash', '\x00\x1f\x7f', '\u00e9\u200b\ue000', '\U0001F600']
'\101\x42\u0043\U00000044\a\b\f\v\q'|list
'line\
continued'
(1), (1,), (), (1, 2)
{1: 'a', 1.0: 'b', true: 'c', 'x': 1, (1, 2): 'tuple', none: 0}
{[1]: 2}
{'a': 1, 'b': {'c': [1, 2]}}.b.c[1]
{'a': 1} == {'a': 1.0}, [1, 2] == (1, 2), (1, 2) == (1, 2)
dict(a=1, b='x'), dict([('k', 'v')], z=2), dict({'q': 1})
dict(5)
namespace(a=1).a
namespace(_a=1)
spaced|trim, spaced.strip(), spaced.lstrip(), spaced.rstrip()
[spaced.strip(), spaced.lstrip(), spaced.rstrip(), spaced.split(), spaced|trim]
'xxaxbxx'.strip('x'), 'xyaxy'.lstrip('yx'), 'abcba'.rstrip('ab'), 'xxaxx'|trim('x')
'\u4f60a\u4f60'.strip('\u4f60')
many.split(','), many.split(',', 1), many.rsplit(',', 1), many.split(',', maxsplit=2), many.split()
'a--b--c'.split('--'), 'a b  c '.split(' '), ''.split(), ''.split(','), ' a  b c '.split(none, 1)
' a  b c '.rsplit(none, 1), 'a'.rsplit('x'), 'one two  '.rsplit()
'a'.split('')
lines.splitlines(), lines.splitlines(true)
'a\x0bb\x0cc\x1cd\u2028e'.splitlines()
text.startswith('Hell'), text.startswith(('x', 'H')), text.endswith('ld'), text.endswith(('a',))
text.startswith('W', 7), text.startswith('W', 7, 5), text.endswith('o', 0, 5)
text.startswith(1)
text.startswith(['H'])
text.replace('l', 'L'), text.replace('l', 'L', 1), text.replace('', '-'), text.replace('zz', '')
text|replace('o', '0'), text|replace('o', '0', 1), 5|replace(5, 6)
text.find('o'), text.find('o', 5), text.find('z'), text.rfind('o'), text.find('', 3), text.index('W')
unicode.find('\u4f60'), unicode.find('na'), unicode.rfind(' ')
text.index('z')
text.count('l'), text.count(''), text.count('o', 5), 'aaaa'.count('aa')
', '.join(['a', 'b']), '-'.join('abc'), ''.join([])
','.join([1])
text.center(20), text.center(21, '*'), 'ab'.center(5), 'abc'.center(6), 'a'.ljust(3) ~ '|', 'a'.rjust(3)
'x'.center(3, 'ab')
'7'.zfill(3), '-7'.zfill(4), '+7'.zfill(1), 'abc'.zfill(5)
'a:b:c'.partition(':'), 'a:b:c'.rpartition(':'), 'a'.partition(':'), 'a'.rpartition(':')
'prefix-x'.removeprefix('prefix-'), 'x.txt'.removesuffix('.txt'), 'x'.removesuffix('')
'abc'.isalpha(), 'ab1'.isalpha(), ''.isalpha(), '\u4f60'.isalpha(), 'a1'.isalnum(), '\u00b2'.isalnum()
'12'.isdigit(), '1.2'.isdigit(), '\u00b2'.isdigit(), '\u00b2'.isdecimal(), '\u0663'.isdecimal()
' \t\u00a0'.isspace(), ''.isspace(), 'abc'.islower(), 'aB'.islower(), 'AB1'.isupper(), '1'.isupper()
'Title Case'.istitle(), 'Not title'.istitle(), 'abc'.isascii(), '\u00e9'.isascii(), 'a\n'.isprintable()
"they're bill's friends".title(), "they're bill's friends"|title, 'a-b (c) [d] <e> {f'|title
'{} and {}'.format('a', 1), '{1} {0}'.format('a', 'b'), '{x!r} {x}'.format(x='q'), '{{}}'.format()
'{:>8}|{:<8}|{:^8}|{:*^9}|{:08.3f}|{:,}|{:x}|{:#x}|{:+d}|{:e}|{:%}'.format('a', 'b', 'c', 'd', 3.14159, 1234567, 255, 255, 5, 12345.678, 0.25)
'{0.b} {0[a]} {1[0]}'.format(d, numbers)
'{:5}|{:5}|{:5}|{!s:>6}|{:.2}'.format('ab', 12, 2.5, none, 'abcdef')
'{}'.format()
'{a}'.format(b=1)
'{'.format()
'{x}'.format_map({'x': 3})
'%s is %d years and %.2f%%' % ('Ann', 31, 12.345)
'%5d|%-5d|%05d|%+d|% d|%x|%X|%o|%#x|%e|%g|%c' % (42, 42, 42, 42, 42, 255, 255, 8, 255, 12345.678, 0.0001, 'z')
'%(a)s-%(b)03d' % {'a': 1, 'b': 2}
'%s' % [1, 2], '%r' % 'a', '%10s|%-10s|%.2s' % ('ab', 'cd', 'efgh')
'%d' % 'a'
'%s %s' % ('a',)
'%s' % ('a', 'b')
'%d' % 3.99, '%i' % true, '%5.1f|%-8.3f|' % (2.25, 2.0005)
'%s and %s'|format('a', 'b'), '%(x)s'|format(x=1)
'%s' % missing
d|tojson
mixed|tojson, nested|tojson
{'a': 1, 'b': [1, 2, {}], 'c': {}, 'd': []}|tojson(indent=2)
{'b': 1, 'a': [true, none]}|tojson(sort_keys=true, separators=(',', ':'))
[1, [2, [3]]]|tojson(indent=0)
{'a': [1]}|tojson(indent='--')
unicode|tojson, unicode|tojson(ensure_ascii=true)
'quote " slash / back \\ tab \t nul \x00 del \x7f \u2028 <&>\''|tojson
{1: 'a', none: 'b', true: 'c', 2.5: 'd'}|tojson
{(1, 2): 3}|tojson
1.0|tojson, 1e100|tojson, true|tojson, none|tojson, 'x'|tojson, (1, 2)|tojson, 5|tojson
range(3)|tojson
d.items()|tojson
numbers|sort, numbers|sort(reverse=true), words|sort, words|sort(case_sensitive=true), words|sort(true)
people|sort(attribute='age')|map(attribute='name')|list
people|sort(attribute='age,name')|map(attribute='name')|join(' ')
people|sort(attribute='city.name', reverse=true)|map(attribute='name')|join(' ')
mixed|sort
numbers|min, numbers|max, words|min, words|max(case_sensitive=true), []|min, []|max is defined
people|max(attribute='age'), people|min(attribute='city.name')
numbers|sum, people|sum(attribute='age'), numbers|sum(start=100), []|sum
words|sum
words|unique|list, words|unique(case_sensitive=true)|list, [1, 1.0, true, 2]|unique|list
people|unique(attribute='age')|map(attribute='name')|list
people|groupby('age')|list
people|groupby('city.name')|map('first')|list, people|groupby('city.name', case_sensitive=true)|map('first')|list
people|groupby('none_such', default='?')|map(attribute='grouper')|list
(people|groupby('age'))[0].list|length
words|join, words|join(', '), numbers|join('-'), people|join('/', attribute='name'), mixed|join(' ')
numbers|first, numbers|last, 'abc'|first, 'abc'|last, []|first, ''|last, d|first, range(3)|last
numbers|map('string')|list, words|map('upper')|list, words|map('replace', 'a', 'o')|list
people|map(attribute='city.name')|list, people|map(attribute='zip', default=0)|list
people|map(attribute='zip')|list
words|map('nope')|list
words|map|list
numbers|select('odd')|list, numbers|reject('odd')|list, mixed|select|list, mixed|reject|list
numbers|select('gt', 1)|list, numbers|select('divisibleby', 2)|list, numbers|select('in', [1, 2])|list
people|selectattr('age', 'equalto', 31)|map(attribute='name')|list
people|selectattr('age', '>', 20)|rejectattr('name', 'eq', 'Ann')|map(attribute='name')|join(',')
people|selectattr('zip')|list, people|rejectattr('zip')|list|length, people|selectattr('zip', 'defined')|list
people|selectattr('zip', 'undefined')|list|length
(people|selectattr('age', 'eq', 99))|first is defined
(people|selectattr('age', 'eq', 99)) and 'generators are true'
(numbers|select('odd'))|length
(numbers|select('odd'))|last
(numbers|select('odd'))[0] is defined
numbers|list, 'abc'|list, d|list, (1, 2)|list
5|list
numbers|reverse|list, 'abc'|reverse, (1, 2)|reverse|list
d|dictsort, d|dictsort(true), {'x': 2, 'y': 1}|dictsort(by='value'), {'x': 2, 'y': 1}|dictsort(reverse=true)
d|dictsort(by='other')
d|items|list
5|items|list
numbers|batch(2)|list, numbers|batch(2, 0)|list, []|batch(3)|list
numbers|slice(2)|list, numbers|slice(3, 'x')|list
numbers|length, text|length, text|count, {}|length
5|length
none|length
empty|default('d'), empty|default('d', true), none|default('d'), missing|d('x'), 0|d(1, boolean=true)
'42'|int, '42.9'|int, 'x'|int, 'x'|int(-1), ' 7 '|int, '0x1f'|int(base=16), '1_000'|int, 3.99|int, true|int
'101'|int(0, 2), 'zz'|int(base=36), none|int(5), []|int, '-5'|int, '+5'|int, '--5'|int, '0b11'|int(0, 0)
'3.5'|float, 'x'|float, 'x'|float(1.5), 3|float, ' 1e3 '|float, none|float, 'inf'|float, 'nan'|float, '1_0.5'|float
-5|abs, neg|abs, 2.5|abs, (neg * 1.5)|abs
2.5|round, 3.5|round, 2.675|round(2), 42|round, 42.55|round(1, 'floor'), 42.45|round(1, 'ceil'), 1234|round(-2), 1234.5|round(-2), -2.5|round
2.5|round(method='other')
'a'|round
'first\nsecond\n\nfourth'|indent, 'a\nb'|indent(2, true), 'a\n\nb'|indent(2, blank=true), 'a\nb'|indent('> ', first=true)
'foo bar baz qux'|truncate(9), 'foo bar baz qux'|truncate(9, true), 'foo bar baz qux'|truncate(11), 'foo bar baz qux'|truncate(11, false, '~', 0)
'foo bar'|truncate(2)
text|wordcount, unicode|wordcount, ''|wordcount
'ab'|center(7) ~ '|'
html|escape, html|e, html|safe, html|forceescape
html|safe|upper, ('<'|e)|e, '<b>'|safe ~ '<i>', ('<b>'|safe) + '<i>', '<i>' + ('<b>'|safe)
'a b/c?d=\u00e9&~'|urlencode, {'k 1': 'v/2', 'x': 3}|urlencode, [('a', 1)]|urlencode
{'class': 'x "y"', 'id': 5, 'no': none}|xmlattr, {}|xmlattr, {'a': 1}|xmlattr(false)
1000|filesizeformat, 1|filesizeformat, 1500000|filesizeformat, 2048|filesizeformat(true), 5|filesizeformat
text|string, 5|string, none|string, [1]|string
d|attr('b') is defined
n is odd, n is even, n is divisibleby 7, n is divisibleby(2), 4 is even
'a' is odd
none is none, n is none, n is number, x is number, yes is number, 'a' is number
n is integer, yes is integer, x is float, n is float, yes is boolean, none is boolean, 1 is true, yes is true, false is false
text is string, d is mapping, numbers is mapping, numbers is sequence, text is sequence, d is sequence, n is sequence
numbers is iterable, text is iterable, n is iterable, missing is iterable, none is iterable, missing is sequence
n is eq 7, n is equalto 8, n is ne 7, n is lt 8, n is gt(8), n is ge 7, n is le 6, n is lessthan 9, n is greaterthan 1
n is in [7, 8], 'a' is in 'abc', 9 is not in [7], n is not odd
'abc' is lower, 'ABC' is upper, 'Abc' is lower, 'Abc' is upper
'upper' is filter, 'nope' is filter, 'odd' is test, 'nope' is test
none is sameas none, n is sameas 7, true is sameas 1
range is callable, text is callable, text.upper is callable, missing is callable
'<'|e is escaped, '<' is escaped
text is not defined, missing is not defined or true
n is odd and n > 5 or false
text|nope
text is nope
'a' if true else text|nope
'a' is odd is even
lipsum is defined, cycler is defined
'a,b;c'|replace(',', ';')|replace(';', ' ')|title|trim
(text|lower).split(', ')|map('capitalize')|join(' & ')
text|upper|lower|length + 1
n.__add__ is defined
strftime_now('%Y-%m-%d'), strftime_now('%d %b %Y'), strftime_now('%B %-d, %Y'), strftime_now('%A %H:%M:%S %j %p %I %y')
raise_exception('stop it')
raise_exception()
text.upper(1)
text.split(',', 1, 2)
text.nope()
text()
n()
text|upper(1)
text|default(nope=1)
text|join(1, 2, 3)
numbers|map(attribute='x', other=1)|list
[1, 2, 3].0, (4, 5).1, 'abc'.0
text[n], text[neg], numbers[n] is defined
numbers[1.0] is defined
d[['a']] is defined
[1,2,][0], {'a': 1,}.a, (1,)
range(*[1, 4])|list, dict(**{'a': 1}), '{}-{}'.format(*'xy'), dict(a=1, **{'b': 2})
dict(**5)
dict(a=1, a=2)
1 2
(1
[1, 2
{'a'}
{'a': }
'unterminated
a..b
|upper
text|
text is
1 +
not
}}
a.b.'c'
text[
text[]
$
a ? b : c
a; b
"""

TEMPLATES = [
    # white-space control
    "a\n{% if true %}\nb\n{% endif %}\nc",
    "a\n  {% if true %}  \n  b\n  {% endif %}\n  c",
    "a {%- if true -%} b {%- endif -%} c",
    "a\n   {%- if true %}\n b {% endif -%}\n   c",
    "a\n   {%+ if true %}\nb{% endif +%}\nc",
    "  {{ 1 }}  \n  {{- 2 }}  {{ 3 -}}  \n 4",
    "  {# comment #}\nx{#- c -#}  y\n  {#+ c +#}\nz",
    "{# a {{ b }} {% c %} #}x",
    "{% raw %}{{ x }} {% if %}{% endraw %}",
    "a\n  {% raw %}\n  {{ x }}\n  {% endraw %}\nb",
    "a {%- raw -%}  {{ x }}  {%- endraw -%} b",
    "{{ '{{' }}{{ '%}' }}{{ \"}}\" }}",
    "trailing\n", "trailing\n\n", "\n\n", "\r\nwindows\r\nlines\rmac\r\n",
    "{{ 1 }}\n", "{{ 1 }}\n\n", "{% if true %}\n\nx{% endif %}\n",
    "text\twith\u00a0 {%- if true %} x{% endif %}",
    "{%if true%}tight{%endif%}", "{%-if true-%}tight{%-endif-%}",
    "{{{'a': 1}}}", "{{ {'a': {'b': 1}}.a.b }}", "{{-1}}", "{{ -1 -}} x", "{{+1}}",
    "{ {% if true %}}{% endif %} } {# #}#}", "{{ '\n' }}|{{ 'a\r\nb' }}",
    "{% set x = 1 %}\n{% set y = 2 %}\n{{ x + y }}",
    "line\n{% set x %}\n  block {{ n }}\n{% endset %}\n[{{ x }}]",
    "{% set x | upper | trim %} abc {% endset %}[{{ x }}]",
    # scopes
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a, (b, c) = 1, (2, 3) %}{{ a }}{{ b }}{{ c }}",
    "{% set a, b = [1] %}", "{% set a, b = [1, 2, 3] %}", "{% set a = 1, 2 %}{{ a }}",
    "{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }} {% endfor %}{{ x }}",
    "{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}",
    "{% set ns = namespace(x=1, y='a') %}{% for i in [1, 2] %}{% set ns.x = ns.x + i %}{% endfor %}"
    "{{ ns.x }}{{ ns.y }}{{ ns.z is defined }}{{ ns['x'] }}",
    "{% set ns = namespace() %}{% set ns.a, b = 1, 2 %}{{ ns.a }}{{ b }}",
    "{% set ns = namespace() %}{% set ns._a = 1 %}", "{% set d.x = 1 %}", "{% set missing.x = 1 %}",
    "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}",
    "{% set ns = namespace(x=1) %}{% set ns.x %}block{% endset %}{{ ns.x }}",
    "{% with a=1, b=n %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}",
    "{% set a = 5 %}{% with a=1, b=a %}{{ a }}{{ b }}{% endwith %}{{ a }}",
    "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}",
    "{% if false %}{% set text = 'no' %}{% endif %}{{ text }}",
    "{% if n == 1 %}one{% elif n == 7 %}seven{% else %}other{% endif %}",
    "{% if missing %}a{% elif none %}b{% elif '' %}c{% elif [] %}d{% elif 0.0 %}e{% else %}f{% endif %}",
    "{% if n > 5 and n < 10 or false %}y{% endif %}", "{% if 1, 2 %}tuple{% endif %}",
    # loops
    "{% for i in numbers %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}"
    "{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }} {% endfor %}",
    "{% for i in numbers %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }} {% endfor %}",
    "{% for i in numbers %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}",
    "{% for i in [1, 1, 2, 2, 1] %}{{ loop.changed(i) }}{{ loop.cycle('a', 'b', 'c') }}{% endfor %}",
    "{% for i in [] %}x{% else %}empty{% endfor %}", "{% for i in missing %}x{% else %}none{% endfor %}",
    "{% for i in numbers if i > 1 %}{{ i }}:{{ loop.index }}/{{ loop.length }} {% else %}x{% endfor %}",
    "{% for i in numbers if i > 100 %}{{ i }}{% else %}none big{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in d %}{{ k }}{% endfor %}",
    "{% for a, b in [(1, 2), [3, 4], 'xy'] %}{{ a }}{{ b }}{% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{% endfor %}", "{% for a, b in [1] %}{% endfor %}",
    "{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for c in 'h\u00e9\u4f60' %}[{{ c }}]{% endfor %}", "{% for i in 5 %}{% endfor %}",
    "{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}"
    "{% endif %}{{ i }}{% endfor %}",
    "{% for i in [1, 2] %}{% for j in 'ab' %}{{ i }}{{ j }}{{ loop.index }} {% endfor %}{{ loop.index }}"
    "{% endfor %}",
    "{% for i in [1, 2] %}{% set outer = loop %}{% for j in [1, 2] %}{{ outer.index }}{{ loop.index }} "
    "{% endfor %}{% endfor %}",
    "{% for item in [{'n': 1, 'c': [{'n': 2, 'c': [{'n': 3}]}]}, {'n': 4}] recursive %}"
    "{{ loop.depth }}:{{ item.n }}{% if item.c %}({{ loop(item.c) }}){% endif %} {% endfor %}",
    "{% for i in [1] %}{{ loop([1]) }}{% endfor %}", "{% for i in 1, 2, 3 %}{{ i }}{% endfor %}",
    "{% for i in [1, 2, 3] %}{{ i }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{% for i in [3, 1] | sort %}{{ i }}{% endfor %}", "{% for x in [1] %}{{ loop.nope }}{% endfor %}",
    "{% for x in numbers|select('odd') %}{{ x }}{{ loop.last }}{{ loop.length }}{% endfor %}",
    "{{ loop is defined }}", "{% set g = numbers|select('odd') %}{{ g|list }}{{ g|list }}",
    "{% set g = numbers|map('string') %}{{ g|first }}{{ g|join('-') }}",
    "{% for m in people if m.age > 20 and m.name != 'bob' %}{{ m.name }}{% endfor %}",
    "{% for i in numbers[1:] %}{{ i }}{% endfor %}", "{% for i in numbers[::-1] %}{{ i }}{% endfor %}",
    # macros
    "{% macro m(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }}|{{ m(1, 5) }}|{{ m(1, c=9) }}"
    "|{{ m(b=0, a=3) }}",
    "{% macro m(a) %}[{{ a }}]{% endmacro %}{{ m() }}", "{% macro m(a) %}{{ a.b }}{% endmacro %}{{ m() }}",
    "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{% endmacro %}{{ m(1, z=2) }}",
    "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, k='v') }}",
    "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}",
    "{% macro m() %}{{ n }}{{ later }}{% endmacro %}{% set later = 'L' %}{{ m() }}",
    "{% macro f(k) %}{{ k }}{% if k > 0 %}{{ f(k - 1) }}{% endif %}{% endmacro %}{{ f(3) }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% macro box(t) %}<{{ t }}>{{ caller() }}</{{ t }}>{% endmacro %}{% call box('b') %}in {{ n }}{% endcall %}",
    "{% macro each(l) %}{% for i in l %}{{ caller(i, loop.index) }};{% endfor %}{% endmacro %}"
    "{% call(x, k) each([5, 6]) %}{{ k }}={{ x }}{% endcall %}",
    "{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}",
    "{% macro m(x) %}{% set y = x * 2 %}{{ y }}{% endmacro %}{{ m(2) }}{{ y is defined }}",
    "{% macro m(a, b) %}{% endmacro %}{{ m.name }}{{ m.arguments }}{{ m.catch_kwargs }}{{ m }}",
    "{% macro m(a=1, b) %}{% endmacro %}", "{{ m() }}{% macro m() %}x{% endmacro %}",
    "{% for i in [1, 2] %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}",
    "{% macro m() %}\n  a\n{% endmacro %}\n[{{ m() }}][{{ m()|trim }}]",
    # other tags
    "{% filter upper %}abc {{ text }}{% endfilter %}", "{% filter replace('a', 'b')|upper %}aXa{% endfilter %}",
    "{% filter indent(2) %}\na\nb\n{% endfilter %}", "{% print 1, 'a' %}",
    "{% generation %}x {{ n }}{% set q = 1 %}{% endgeneration %}{{ q is defined }}",
    "{%- generation -%}  x  {%- endgeneration -%}  y",
    "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.reset() }}{{ c.next() }}",
    "{% set j = joiner('|') %}{% for i in [1, 2, 3] %}{{ j() }}{{ i }}{% endfor %}",
    "{% if 'nope' is filter %}{{ 1|nope }}{% else %}fine{% endif %}",
    "{% if true %}{{ 1|nope }}{% endif %}", "{{ 1|nope if false else 2 }}", "{{ 2 if true else 1|nope }}",
    # errors
    "{% if %}{% endif %}", "{% if true %}", "{% for %}{% endfor %}", "{% for i in [1] %}", "{% endif %}",
    "{% nope %}", "{% set %}", "{% set 5 = 1 %}", "{% set true = 1 %}", "{% set a.b.c = 1 %}", "{% else %}",
    "{% for i in [1] %}{% endif %}", "{{ ", "{% if true", "{# open", "{% raw %}open", "{{ 1 }", "{{ (1] }}",
    "{% break %}", "{% macro %}{% endmacro %}", "{% call 5 %}{% endcall %}", "{% do 1 %}", "{% %}",
    "line\n\n{{ raise_exception('third') }}", "{% set x = raise_exception('a ' ~ n) %}",
    "a{{ }}b", "{% filter nope %}{% endfilter %}",
]
