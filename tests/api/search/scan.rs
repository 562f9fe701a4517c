//! The index finds what a look at every job finds, for random jobs and queries in ten scripts.

use lancewire::{
    clock::Clock,
    ids::Ids,
    jobs::{
        filter::JobFilter,
        list::{JobOrder, JobQuery},
    },
    search::query::{Query, Words},
};

use super::{BEST, INDEXED, find, post};
use crate::on_both;

/// Words of ten scripts, some of which begin, hold or nearly are others.
const WORDS: &[&str] = &[
    "logo",
    "logos",
    "Login",
    "design",
    "designer",
    "Node.js",
    "C++",
    "C#",
    "C",
    ".NET",
    "e-mail",
    "full–stack",
    "O’Brien",
    "Café",
    "straße",
    "tiếng",
    "Việt",
    "İstanbul",
    "ılık",
    "новый",
    "ёлка",
    "ёлки",
    "Μετάφραση",
    "κειμένου",
    "تصميم",
    "شعار",
    "עיצוב",
    "לוגו",
    "हिन्दी",
    "लोगो",
    "ロゴ設計",
    "設計",
    "の依頼",
    "中文网站",
    "网站开发",
    "เอกสาร",
    "ภาษาไทย",
    "대한민국",
    "민국",
    "ＦＵＬＬ",
    "x",
    "v1.2",
];

/// Draws from a seed.
struct Draw(Ids);

impl Draw {
    fn below(&self, end: usize) -> usize {
        usize::try_from(self.0.below(end as u64)).expect("small")
    }

    fn words(&self, most: usize) -> Vec<&'static str> {
        (0..=self.below(most)).map(|_| WORDS[self.below(WORDS.len())]).collect()
    }

    fn text(&self, most: usize) -> String {
        let separators = [" ", " ", " ", ", ", "", "/", " - "];
        let words = self.words(most).into_iter();
        words.flat_map(|word| [word, separators[self.below(separators.len())]]).collect()
    }

    fn query(&self) -> String {
        let word = || {
            let word: Vec<char> = WORDS[self.below(WORDS.len())].chars().collect();
            let whole = self.below(3) > 0;
            let (from, to) =
                if whole { (0, word.len()) } else { (self.below(2).min(word.len() - 1), 1 + self.below(word.len())) };
            word[from.min(to - 1)..to].iter().collect::<String>()
        };
        let parts = (0..=self.below(3)).map(|_| match self.below(8) {
            0 => format!("-{} ", word()),
            1 => format!("\"{}\" ", self.text(2)),
            2 => word(),
            _ => format!("{} ", word()),
        });
        parts.collect::<Vec<_>>().concat()
    }
}

on_both! {
    with INDEXED;

    async fn a_search_finds_what_a_scan_finds(app: TestApp) {
        let ada = app.client("Ada").await;
        app.searchable().await;
        let draw = Draw(Ids::seeded(Clock::system(), 18));
        let mut jobs = Vec::new();
        for _ in 0..80 {
            let (title, description) = (format!("job {}", draw.text(3)), format!("text {}", draw.text(8)));
            let title: String = title.chars().take(140).collect();
            let id = post(&ada, &title, &description).await;
            jobs.push((id, Words::of(&title), Words::of(&description)));
        }
        app.searchable().await;
        let (who, mut hits) = (app.anonymous(), 0);
        for _ in 0..400 {
            let text = draw.query();
            let query = Query::parse(&text).expect("few words");
            let mut expected: Vec<String> = jobs
                .iter()
                .rev()
                .filter(|(_, title, description)| query.matches(title, description))
                .map(|(id, ..)| id.clone())
                .collect();
            if JobQuery::new([("filter.query", None), ("query", Some(&text))], JobFilter::default(), JobOrder::NEWEST, true).is_err() || text.trim().is_empty() {
                continue;
            }
            hits += expected.len();
            if expected.is_empty() && query.words.iter().any(|word| word.errors > 0) {
                // It may be taken for another word.
                continue;
            }
            assert_eq!(find(&who, &text, "").await, expected, "{text:?} {query:?}");
            if !query.is_empty() {
                let mut best = find(&who, &text, BEST).await;
                best.sort_unstable();
                expected.sort_unstable();
                assert_eq!(best, expected, "{text:?} by relevance");
            }
        }
        assert!(hits > 500, "{hits} hits are too few to say anything");
    }
}
