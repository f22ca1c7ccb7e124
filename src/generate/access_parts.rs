//! What access logs are made of: lists, and the rules from ranks to clients and endpoints.

use crate::generate::draws::Draw;
use crate::generate::text::{decimal, hex, word};

/// Appends the address of client number `rank`: no other rank's, and unlike its neighbours'.
///
/// Ranks are scattered over the 32-bit numbers below `218 << 24` by a permutation: `scatter` permutes all
/// 32-bit numbers, and walking its cycle on to the next number in the range permutes the range. The high
/// byte then chooses among the 218 first octets of unicast space that are not (partly) private. Three clients in a
/// hundred have IPv6, with the number in two groups.
pub(super) fn client(rank: u64, out: &mut Vec<u8>) {
    const RANGE: u32 = 218 << 24;
    let mut number = scatter(rank as u32);
    while number >= RANGE {
        number = scatter(number);
    }
    let [high, b, c, d] = number.to_be_bytes();
    if Draw::hash(rank ^ 0x6a09_e667).below(100) < 3 {
        out.extend_from_slice(b"2a02:");
        ipv6_group(number >> 16, out);
        out.push(b':');
        ipv6_group(number & 0xffff, out);
        out.extend_from_slice(b"::");
        ipv6_group(u32::from(d) + 1, out);
        return;
    }
    decimal(u64::from(FIRST_OCTETS[usize::from(high)]), out);
    for octet in [b, c, d] {
        out.push(b'.');
        decimal(u64::from(octet), out);
    }
}

/// A permutation of the 32-bit numbers: xor-shifts and odd factors, each of which can be undone (Wellons 2018).
fn scatter(mut x: u32) -> u32 {
    x = x.wrapping_add(0x2545_f491);
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// A group of an IPv6 address, without leading zeros.
fn ipv6_group(value: u32, out: &mut Vec<u8>) {
    let digits = (value.max(1).ilog2() / 4) + 1;
    hex(u64::from(value), digits, out);
}

const FIRST_OCTETS: [u8; 218] = {
    let mut octets = [0; 218];
    let (mut octet, mut at) = (1, 0);
    while octet < 224 {
        if !matches!(octet, 10 | 127 | 169 | 172 | 192) {
            octets[at] = octet;
            at += 1;
        }
        octet += 1;
    }
    octets
};

/// Endpoints that every site has; they are the most popular.
const USUAL_ENDPOINTS: [&[u8]; 20] = [
    b"/favicon.ico",
    b"/assets/css/style2.css?v=20150412",
    b"/",
    b"/robots.txt",
    b"/assets/js/jquery-1.11.3.min.js",
    b"/images/web/2015/banner.png",
    b"/api/v2/session/heartbeat",
    b"/blog/tags/puppet?flav=rss20",
    b"/index.html",
    b"/feed.atom",
    b"/login?next=%2Faccount%2Forders",
    b"/projects/xdotool/xdotool.xhtml",
    b"/apple-touch-icon-precomposed.png",
    b"/search?q=open+source&lang=en",
    b"/sitemap.xml",
    b"/wp-login.php",
    b"/errors/busy.html",
    b"/about/contact.html",
    b"/%E4%BB%B7%E6%A0%BC/%E8%A1%A8.html",
    b"/server-status?auto",
];

const SECTIONS: [&[u8]; 24] = [
    b"blog",
    b"articles",
    b"projects",
    b"products",
    b"docs",
    b"presentations",
    b"reset",
    b"files",
    b"news",
    b"support",
    b"category",
    b"community",
    b"downloads",
    b"shop",
    b"events",
    b"geekery",
    b"media",
    b"account",
    b"help",
    b"guides",
    b"releases",
    b"archive",
    b"caf%C3%A9",
    b"b%C3%BCcher",
];

const STATIC: [(&[u8], &[u8]); 8] = [
    (b"/images/", b".png"),
    (b"/static/img/", b".jpg"),
    (b"/assets/js/", b".min.js"),
    (b"/assets/css/", b".css"),
    (b"/images/icons/", b".svg"),
    (b"/downloads/", b".tar.gz"),
    (b"/docs/", b".pdf"),
    (b"/fonts/", b".woff2"),
];

const QUERIES: [&[u8]; 8] = [
    b"",
    b"?page=2",
    b"?page=3&sort=price",
    b"?flav=rss20",
    b"?utm_source=newsletter&utm_medium=email",
    b"?lang=de",
    b"?ref=home",
    b"?q=caf%C3%A9+au+lait",
];

/// Appends the path and query of endpoint number `rank`: no other rank's.
///
/// Each shape of path has a fixed place for the rank's own word, and no shape can be taken for another, so that no two
/// are alike.
pub(super) fn endpoint(rank: u64, out: &mut Vec<u8>) {
    if let Some(usual) = USUAL_ENDPOINTS.get(rank as usize) {
        return out.extend_from_slice(usual);
    }
    let mut draw = Draw::hash(rank ^ 0xbb67_ae85);
    let own = rank.wrapping_sub(USUAL_ENDPOINTS.len() as u64);
    match draw.below(10) {
        0..3 => {
            let (folder, extension) = draw.pick(&STATIC);
            out.extend_from_slice(folder);
            for _ in 0..draw.below(2) {
                word(draw.below(100 * 100), out);
                out.push(b'-');
            }
            word(own, out);
            out.extend_from_slice(extension);
        }
        3..6 => {
            out.push(b'/');
            out.extend_from_slice(draw.pick(&SECTIONS));
            out.push(b'/');
            decimal(2008 + draw.below(8), out);
            out.push(b'/');
            for _ in 0..draw.below(3) {
                word(100 + draw.below(100 * 100), out);
                out.push(b'-');
            }
            word(own, out);
            out.extend_from_slice(b".html");
        }
        6..8 => {
            out.push(b'/');
            out.extend_from_slice(draw.pick(&SECTIONS));
            out.push(b'/');
            word(own, out);
            out.extend_from_slice(draw.pick_low(&QUERIES));
        }
        8 => {
            out.extend_from_slice(b"/search?q=");
            word(draw.below(100 * 100), out);
            out.extend_from_slice(b"%20");
            word(own, out);
        }
        _ => {
            out.extend_from_slice(b"/api/v2/");
            out.extend_from_slice(draw.pick(&SECTIONS));
            out.push(b'/');
            word(own, out);
            out.extend_from_slice(b"/status");
        }
    }
}

/// Where visitors come from, the commoner first.
pub(super) const REFERERS: [&[u8]; 24] = [
    b"https://www.google.com/",
    b"https://www.example.org/",
    b"https://www.example.org/blog/",
    b"https://www.bing.com/",
    b"https://www.example.org/search?q=open+source&lang=en",
    b"https://duckduckgo.com/",
    b"https://www.example.org/projects/xdotool/",
    b"https://t.co/pKHb3yTsRa",
    b"https://news.ycombinator.com/",
    b"https://www.example.org/products/?page=2&sort=price",
    b"https://www.reddit.com/r/programming/",
    b"https://www.facebook.com/",
    b"http://www.google.com.br/url?sa=t&rct=j&q=&esrc=s&source=web&cd=2&ved=0CDYQFjAB&cad=rja",
    b"https://github.com/",
    b"https://yandex.ru/search/?text=%D0%BB%D0%BE%D0%B3%D0%B8",
    b"https://www.example.org/docs/",
    b"https://stackoverflow.com/questions/3404301/",
    b"https://www.baidu.com/link?url=Kq9mE2dYv0",
    b"https://www.example.org/articles/dynamic-dns-with-dhcp/",
    b"https://lobste.rs/",
    b"https://old.example.net/links.html",
    b"https://www.example.org/cart",
    b"android-app://com.google.android.gm/",
    b"http://semalt.semalt.com/crawler.php?u=http://example.org",
];

/// What visitors say they are, the commoner first.
pub(super) const AGENTS: [&[u8]; 36] = [
    b"Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/42.0.2311.152 Safari/537.36",
    b"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    b"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_10_3) AppleWebKit/600.5.17 (KHTML, like Gecko) Version/8.0.5 Safari/600.5.17",
    b"Mozilla/5.0 (Windows NT 6.3; WOW64; rv:38.0) Gecko/20100101 Firefox/38.0",
    b"curl/7.42.1",
    b"Mozilla/5.0 (iPhone; CPU iPhone OS 8_3 like Mac OS X) AppleWebKit/600.1.4 (KHTML, like Gecko) Version/8.0 Mobile/12F70 Safari/600.1.4",
    b"Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:37.0) Gecko/20100101 Firefox/37.0",
    b"UniversalFeedParser/4.2-pre-314-svn +http://feedparser.org/",
    b"Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko",
    b"Mozilla/5.0 (Linux; Android 5.0.1; SM-G920F Build/LRX22C) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/41.0.2272.96 Mobile Safari/537.36",
    b"Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/43.0.2357.65 Safari/537.36",
    b"-",
    b"Feedfetcher-Google; (+http://www.google.com/feedfetcher.html; 22 subscribers; feed-id=8321906634162087507)",
    b"Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
    b"Mozilla/5.0 (iPad; CPU OS 8_1_3 like Mac OS X) AppleWebKit/600.1.4 (KHTML, like Gecko) Version/8.0 Mobile/12B466 Safari/600.1.4",
    b"Mozilla/5.0 (Windows NT 10.0; WOW64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/42.0.2311.135 Safari/537.36 Edge/12.10136",
    b"Wget/1.16 (linux-gnu)",
    b"Tiny Tiny RSS/1.15.3 (http://tt-rss.org/)",
    b"Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
    b"Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 5.1; Trident/4.0; .NET CLR 2.0.50727; .NET CLR 3.5.30729)",
    b"python-requests/2.7.0 CPython/3.4.3 Linux/3.16.0-38-generic",
    b"Opera/9.80 (J2ME/MIDP; Opera Mini/7.1.32052/34.1244; U; en) Presto/2.8.119 Version/11.10",
    b"Mozilla/5.0 (compatible; AhrefsBot/5.0; +http://ahrefs.com/robot/)",
    b"Go-http-client/1.1",
    b"Mozilla/5.0 (Linux; U; Android 4.1.2; de-de; GT-I8190 Build/JZO54K) AppleWebKit/534.30 (KHTML, like Gecko) Version/4.0 Mobile Safari/534.30",
    b"Apache-HttpClient/4.4.1 (Java/1.8.0_45)",
    b"facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    b"Mozilla/5.0 (compatible; MJ12bot/v1.4.5; http://www.majestic12.co.uk/bot.php?+)",
    b"Twitterbot/1.0",
    b"Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)",
    b"Chef Client/10.18.2 (ruby-1.9.3-p327; ohai-6.16.0; x86_64-linux; +http://opscode.com)",
    b"check_http/v2.0.3 (nagios-plugins 2.0.3)",
    b"Mozilla/5.0 (Macintosh; Intel Mac OS X 10.10; rv:38.0) Gecko/20100101 Firefox/38.0",
    b"Dalvik/1.6.0 (Linux; U; Android 4.1.2; GT-S5282 Build/JZO54K)",
    // Apache writes a quote in a header as \", and a byte that is not printable as \x…
    b"Mozilla/5.0 (\\\"research\\\" crawler; caf\\xc3\\xa9 edition; en) libwww-perl/6.05",
];

/// The agent of client number `rank`: the same each time.
pub(super) fn agent(rank: u64) -> &'static [u8] {
    Draw::hash(rank ^ 0x3c6e_f372).pick_low(&AGENTS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::net::IpAddr;

    fn texts(write: fn(u64, &mut Vec<u8>), ranks: u64) -> impl Iterator<Item = String> {
        (0..ranks).map(move |rank| {
            let mut out = Vec::new();
            write(rank, &mut out);
            String::from_utf8(out).expect("ASCII")
        })
    }

    #[test]
    fn clients_are_distinct_valid_addresses() {
        let mut seen = HashSet::new();
        let mut v6 = 0;
        for text in texts(client, 200_000) {
            let address: IpAddr = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            v6 += u32::from(address.is_ipv6());
            assert_eq!(address.to_string(), text, "addresses are in their canonical form");
            assert!(seen.insert(text));
        }
        assert!((5_500..6_500).contains(&v6), "{v6}");
    }

    #[test]
    fn endpoints_are_distinct_and_of_moderate_length() {
        let mut seen = HashSet::new();
        for text in texts(endpoint, 300_000) {
            assert!(text.starts_with('/') && text.len() <= 80, "{text}");
            assert!(
                text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\'),
                "{text}"
            );
            assert!(seen.insert(text));
        }
    }
}
