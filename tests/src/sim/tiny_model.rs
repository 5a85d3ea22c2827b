//! A small but real model: a BERT with seeded weights that `safetensors`, `tokenizers` and `transformers` load.
//!
//! The weights are noise, so it understands nothing; what matters is that every file is what a real one would be.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::content::mix;

const HIDDEN: u64 = 384;
const LAYERS: u64 = 6;
const HEADS: u64 = 12;
const INNER: u64 = 4 * HIDDEN;
const POSITIONS: u64 = 512;
/// Spread of the weights, as BERT's own initialisation has it.
const SPREAD: f32 = 0.02;
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
const ENDINGS: [&str; 16] = [
    "s", "ed", "ing", "ly", "er", "est", "ness", "ment", "tion", "al", "ful", "less", "able", "es", "en", "ity",
];
const WORDS: &str = include_str!("words.txt");

/// What stands where in the weights.
enum Fill {
    Noise,
    Ones,
    Zeros,
}

/// Writes the model into a folder (made when missing): about 45 MB, the same bytes for the same seed.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_tiny_model(folder: &Path, seed: u64) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let vocabulary = vocabulary();
    let size = vocabulary.len() as u64;
    write_json(folder, "config.json", &config(size))?;
    write_json(folder, "tokenizer.json", &tokenizer(&vocabulary))?;
    write_json(folder, "tokenizer_config.json", &tokenizer_config())?;
    write_json(folder, "special_tokens_map.json", &special_tokens())?;
    fs::write(folder.join("vocab.txt"), vocabulary.join("\n") + "\n")?;
    fs::write(folder.join("README.md"), README)?;
    fs::write(
        folder.join(".gitattributes"),
        "*.safetensors filter=lfs diff=lfs merge=lfs -text\n",
    )?;
    write_weights(&folder.join("model.safetensors"), &tensors(size), seed)
}

const README: &str = "---\nlicense: apache-2.0\nlibrary_name: transformers\npipeline_tag: feature-extraction\n---\n\n\
    # A tiny BERT\n\nMade by the simulated Hub of hfetch. Its weights are noise: it loads, and understands nothing.\n";

fn write_json(folder: &Path, name: &str, value: &Value) -> io::Result<()> {
    fs::write(folder.join(name), serde_json::to_string_pretty(value)? + "\n")
}

/// WordPiece: special tokens, characters, endings, words; no token twice.
fn vocabulary() -> Vec<String> {
    let mut tokens: Vec<String> = SPECIAL.iter().map(|&token| token.to_owned()).collect();
    let characters = ('!'..='~').filter(|character| !character.is_ascii_uppercase());
    for character in characters {
        tokens.push(character.to_string());
        if character.is_ascii_alphanumeric() {
            tokens.push(format!("##{character}"));
        }
    }
    tokens.extend(ENDINGS.iter().map(|ending| format!("##{ending}")));
    tokens.extend(WORDS.split_whitespace().map(str::to_owned));
    let mut seen = std::collections::BTreeSet::new();
    tokens.retain(|token| seen.insert(token.clone()));
    tokens
}

fn config(vocabulary: u64) -> Value {
    json!({
        "architectures": ["BertModel"], "model_type": "bert", "torch_dtype": "float32",
        "attention_probs_dropout_prob": 0.1, "classifier_dropout": null, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1, "hidden_size": HIDDEN, "initializer_range": SPREAD,
        "intermediate_size": INNER, "layer_norm_eps": 1e-12, "max_position_embeddings": POSITIONS,
        "num_attention_heads": HEADS, "num_hidden_layers": LAYERS, "pad_token_id": 0,
        "position_embedding_type": "absolute", "type_vocab_size": 2, "use_cache": true, "vocab_size": vocabulary,
    })
}

fn special_tokens() -> Value {
    json!({
        "pad_token": SPECIAL[0], "unk_token": SPECIAL[1], "cls_token": SPECIAL[2], "sep_token": SPECIAL[3],
        "mask_token": SPECIAL[4],
    })
}

fn tokenizer_config() -> Value {
    let mut value = special_tokens();
    value["tokenizer_class"] = json!("BertTokenizer");
    value["do_lower_case"] = json!(true);
    value["model_max_length"] = json!(POSITIONS);
    value["strip_accents"] = Value::Null;
    value["tokenize_chinese_chars"] = json!(true);
    value["clean_up_tokenization_spaces"] = json!(true);
    value
}

fn tokenizer(vocabulary: &[String]) -> Value {
    let added: Vec<Value> = SPECIAL
        .iter()
        .enumerate()
        .map(|(id, token)| {
            json!({
                "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true,
            })
        })
        .collect();
    let ids: BTreeMap<&str, usize> = vocabulary
        .iter()
        .enumerate()
        .map(|(id, token)| (token.as_str(), id))
        .collect();
    let special = |token: &str, kind: u64| json!({ "SpecialToken": { "id": token, "type_id": kind } });
    let sequence = |name: &str, kind: u64| json!({ "Sequence": { "id": name, "type_id": kind } });
    let described = |token: &str, id: u64| json!({ "id": token, "ids": [id], "tokens": [token] });
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": true,
        },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0)],
            "pair": [
                special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0), sequence("B", 1), special("[SEP]", 1),
            ],
            "special_tokens": { "[CLS]": described("[CLS]", 2), "[SEP]": described("[SEP]", 3) },
        },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": ids,
        },
    })
}

/// Names, shapes and fillings of `BertModel`, in the order in which they are stored.
fn tensors(vocabulary: u64) -> Vec<(String, Vec<u64>, Fill)> {
    let mut all = Vec::new();
    let norm = |all: &mut Vec<_>, name: &str| {
        all.push((format!("{name}.weight"), vec![HIDDEN], Fill::Ones));
        all.push((format!("{name}.bias"), vec![HIDDEN], Fill::Zeros));
    };
    let dense = |all: &mut Vec<_>, name: &str, out: u64, input: u64| {
        all.push((format!("{name}.weight"), vec![out, input], Fill::Noise));
        all.push((format!("{name}.bias"), vec![out], Fill::Zeros));
    };
    for (name, rows) in [("word", vocabulary), ("position", POSITIONS), ("token_type", 2)] {
        all.push((
            format!("embeddings.{name}_embeddings.weight"),
            vec![rows, HIDDEN],
            Fill::Noise,
        ));
    }
    norm(&mut all, "embeddings.LayerNorm");
    for layer in 0..LAYERS {
        let layer = format!("encoder.layer.{layer}");
        for part in ["query", "key", "value"] {
            dense(&mut all, &format!("{layer}.attention.self.{part}"), HIDDEN, HIDDEN);
        }
        dense(&mut all, &format!("{layer}.attention.output.dense"), HIDDEN, HIDDEN);
        norm(&mut all, &format!("{layer}.attention.output.LayerNorm"));
        dense(&mut all, &format!("{layer}.intermediate.dense"), INNER, HIDDEN);
        dense(&mut all, &format!("{layer}.output.dense"), HIDDEN, INNER);
        norm(&mut all, &format!("{layer}.output.LayerNorm"));
    }
    dense(&mut all, "pooler.dense", HIDDEN, HIDDEN);
    all
}

fn write_weights(path: &Path, tensors: &[(String, Vec<u64>, Fill)], seed: u64) -> io::Result<()> {
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".to_owned(), json!({ "format": "pt" }));
    let mut offset = 0;
    for (name, shape, _) in tensors {
        let end = offset + 4 * shape.iter().product::<u64>();
        header.insert(
            name.clone(),
            json!({ "dtype": "F32", "shape": shape, "data_offsets": [offset, end] }),
        );
        offset = end;
    }
    let mut header = Value::Object(header).to_string();
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    let mut counter = 0;
    for (_, shape, fill) in tensors {
        for _ in 0..shape.iter().product::<u64>() {
            let value = match fill {
                Fill::Ones => 1.0,
                Fill::Zeros => 0.0,
                Fill::Noise => {
                    counter += 1;
                    bell(mix(seed, counter))
                }
            };
            file.write_all(&value.to_le_bytes())?;
        }
    }
    file.flush()
}

/// Nearly a normal distribution: the sum of four uniform numbers, centred and scaled.
fn bell(word: u64) -> f32 {
    const SPREAD_OF_SUM: f32 = 37_837.0;
    let sum: f32 = [0, 16, 32, 48]
        .iter()
        .map(|shift| f32::from((word >> shift & 0xffff) as u16))
        .sum();
    (sum - 2.0 * 65_535.0) / SPREAD_OF_SUM * SPREAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vocabulary_has_no_token_twice_and_the_noise_is_centred() {
        let vocabulary = vocabulary();
        assert!(vocabulary.len() > 500, "{}", vocabulary.len());
        assert_eq!(vocabulary.iter().position(|token| token == "[SEP]"), Some(3));
        let mean = (0..10_000).map(|counter| bell(mix(1, counter))).sum::<f32>() / 10_000.0;
        assert!(mean.abs() < 0.001, "{mean}");
    }
}
